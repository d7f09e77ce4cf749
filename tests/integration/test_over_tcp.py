"""Where UDP does not get through, the server is reached over TCP: on real routers, by their counters.

One lab for all: alice's router lets no UDP out, carol's firewall nothing but the web, bob's router all, until
his UDP is blocked; dave is told to use TCP, and erin, behind a router like alice's, to use nothing but UDP.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from connection import Transfer
from flows import Places
from harness import Lab, run_ltk, wait_for

from ltk.kernel import netns

HUB, ALICE, BOB, CAROL, DAVE, ERIN = (f"10.76.0.{number}" for number in range(1, 7))
PORT = 443
SIZE = 10_000_000  # bytes
BACK_WITHIN = 45.0  # seconds: UDP is asked for every 30 s, and machines are shared
TOPOLOGY = f"""
name: webonly
network: {{subnet: 10.76.0.0/24}}
nodes:
  hub: {{role: server, address: {HUB}, listen: {PORT}}}
  alice: {{address: {ALICE}}}
  bob: {{address: {BOB}}}
  carol: {{address: {CAROL}}}
  dave: {{address: {DAVE}, transport: tcp}}
  erin: {{address: {ERIN}, transport: udp}}
lab:
  sites:
    cloud: {{hosts: [hub]}}
    flat: {{nat: {{preset: home, udp: block}}, hosts: [alice]}}
    home: {{nat: home, hosts: [bob]}}
    office: {{nat: {{preset: firewall, udp: block, tcp: web-only}}, hosts: [carol]}}
    villa: {{nat: home, hosts: [dave]}}
    hotel: {{nat: {{preset: home, udp: block}}, hosts: [erin]}}
checks:
  - {{reach: [alice, bob], via: relay, within: 20s}}
  - {{reach: [carol, dave], via: relay, within: 20s}}
"""
SITES = {"alice": "flat", "bob": "home", "carol": "carol", "dave": "villa", "erin": "hotel"}


class Wire:
    """Packets between each client and the server, as the internet counts them."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        address = Places.of(lab).address
        lines = ["table inet tally {", "  chain count { type filter hook forward priority -10;"]
        names = [f"{kind}_{client}" for client in SITES for kind in ("udp", "tcp")]
        for client, place in SITES.items():
            for one, other in ((address[place], address["hub"]), (address["hub"], address[place])):
                for kind in ("udp", "tcp"):
                    match = f"ip saddr {one} ip daddr {other} meta l4proto {kind}"
                    lines.append(f"    {match} counter name {kind}_{client}")
        lines += ["  }", *(f"  counter {name} {{ }}" for name in names), "}"]
        command = lab.command("internet", "nft", "-f", "-")
        subprocess.run(command, input="\n".join(lines), text=True, check=True)

    def count(self) -> dict[str, int]:
        return self._lab.counters("internet", "tally")

    def during(self, before: dict[str, int]) -> dict[str, int]:
        """What has passed since then."""
        return {name: count - before[name] for name, count in self.count().items()}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab, up."""
    made = Lab(TOPOLOGY, tmp_path_factory.mktemp("transport") / "webonly.yaml")
    try:
        made.apply()
        yield made
    finally:
        print(made.logs())
        made.destroy()


@pytest.fixture(scope="module")
def wire(there: Lab) -> Wire:
    """Its counters."""
    return Wire(there)


def transport(lab: Lab, node: str) -> tuple[str, str]:
    """What a node says of how it reaches the server, and why."""
    told = next(each for each in lab.status()["nodes"] if each["name"] == node)
    return told["transport"], told["transport_reason"]


def answers(lab: Lab, source: str, target: str) -> bool:
    return bool(lab.ping(source, target, "-W", "1", count=1)["received"])


def arrives(lab: Lab, source: str, target: str, address: str) -> None:
    """Send a file, which has to arrive as it is."""
    sent, received = Transfer(lab, source, target, address, SIZE).finish()
    assert sent == received


def test_without_udp_the_tunnel_comes_up_over_tcp_and_a_file_arrives(there: Lab, wire: Wire) -> None:
    for client in ("alice", "carol"):
        wait_for(lambda client=client: answers(there, client, HUB), f"{client} to reach the server")
        assert transport(there, client) == ("tcp", "UDP gets no answer")
    wait_for(lambda: answers(there, "alice", BOB), "alice to reach bob")
    before = wire.count()
    arrives(there, "alice", "bob", BOB)
    arrives(there, "bob", "alice", ALICE)
    arrives(there, "carol", "alice", ALICE)
    seen = wire.during(before)
    assert seen["udp_alice"] == seen["udp_carol"] == 0, seen
    assert min(seen["tcp_alice"], seen["tcp_carol"]) > 50, seen
    assert seen["udp_bob"] > 50, "bob's half of the way is UDP"
    assert seen["tcp_bob"] == 0, seen
    peer = there.peer("alice", "bob")
    assert peer["path"] == "relay"
    assert "over TCP, UDP gets no answer" in peer["reason"]
    assert "over TCP" in run_ltk("why", there.name, "alice", "bob").stdout


def test_a_check_finds_that_the_relay_carries_what_goes_over_tcp(there: Lab) -> None:
    run_ltk("test", "--no-apply", str(there.path))


def test_who_is_told_to_use_one_of_the_two_uses_no_other(there: Lab, wire: Wire) -> None:
    wait_for(lambda: answers(there, "dave", HUB), "dave to reach the server")
    assert transport(there, "dave") == ("tcp", "as configured")
    assert wire.count()["udp_dave"] == 0, "not one datagram"
    assert not answers(there, "erin", HUB)
    assert wire.count()["tcp_erin"] == 0
    assert transport(there, "erin") == ("udp", "as configured")
    assert there.peer("erin", "hub")["reason"] == "none: no handshake has been completed; TCP is not allowed"


def test_udp_that_is_blocked_while_it_is_used_breaks_no_connection_and_is_used_again(
    there: Lab, wire: Wire
) -> None:
    wait_for(lambda: answers(there, "bob", DAVE), "bob to reach dave")
    assert transport(there, "bob")[0] == "udp"
    transfer = Transfer(there, "alice", "bob", BOB)
    wait_for(lambda: transfer.is_past(SIZE), "the first bytes")
    blocked = time.monotonic()
    number = json.loads(run_ltk("fault", there.name, "block", "bob", "hub", "--udp", "-o", "json").stdout)[
        "faults"
    ][0]["number"]
    wait_for(lambda: transport(there, "bob")[0] == "tcp", "bob to use TCP")
    took = time.monotonic() - blocked
    assert took < 30.0, f"it took {took:.1f} s until TCP was used"
    before = wire.count()
    reached = transfer.received
    wait_for(lambda: transfer.is_past(reached + SIZE), "more bytes, over TCP")
    assert wire.during(before)["tcp_bob"] > 50
    run_ltk("fault", there.name, "clear", str(number))
    wait_for(lambda: transport(there, "bob")[0] == "udp", "bob to return to UDP", BACK_WITHIN)
    before = wire.count()
    again = transfer.received
    wait_for(lambda: transfer.is_past(again + SIZE), "the last bytes, over UDP")
    sent, received = transfer.finish()
    assert sent == received
    assert wire.during(before)["udp_bob"] > 50
    wait_for(lambda: listed_streams(there, "bob") == 0, "the stream to be closed")


def test_a_server_that_restarts_is_reached_again_over_tcp(there: Lab) -> None:
    wait_for(lambda: answers(there, "alice", DAVE), "alice to reach dave")
    transfer = Transfer(there, "alice", "dave", DAVE)
    wait_for(lambda: transfer.is_past(SIZE), "the first bytes")
    killed = there.daemon_pid("hub")
    os.kill(killed, signal.SIGKILL)
    reached = transfer.received
    wait_for(lambda: transfer.is_past(reached + SIZE), "more bytes, by the new server", 60.0)
    assert there.daemon_pid("hub") != killed
    sent, received = transfer.finish()
    assert sent == received
    assert transport(there, "alice")[0] == transport(there, "dave")[0] == "tcp"


def test_strangers_are_not_answered_and_do_not_stay(there: Lab) -> None:
    wait_for(lambda: answers(there, "carol", HUB), "carol to reach the server")
    before = listed_streams(there, "hub")
    server = (Places.of(there).address["hub"], PORT)
    strangers = []
    with netns.inside(there.scope("bob")):
        for _ in range(200):
            strangers.append(socket.create_connection(server, timeout=10))
    try:
        for each, junk in zip(
            strangers, (b"GET / HTTP/1.1\r\n\r\n", b"\0\0", b"\0\x94" + bytes(148)), strict=False
        ):
            each.sendall(junk)
        # The kernel accepts for the daemon, which then closes what is too much.
        wait_for(lambda: listed_streams(there, "hub") <= before + 128, "those of one address to be bounded")
        assert answers(there, "carol", HUB), "who is known is served"
        for each in strangers:
            each.settimeout(30.0)
            assert heard(each) == b"", "nothing is answered, and the stream is closed"
    finally:
        for each in strangers:
            each.close()
    wait_for(lambda: listed_streams(there, "hub") == before, "no stream to be left")


def heard(connection: socket.socket) -> bytes:
    """What arrives until the connection ends."""
    try:
        return connection.recv(100)
    except ConnectionResetError:
        return b""


def listed_streams(lab: Lab, node: str) -> int:
    """The established connections at the server's port, as the kernel lists them."""
    listed = lab.run(node, "ss", "-tHn", "state", "established", f"( sport = :{PORT} or dport = :{PORT} )")
    return len(re.findall(r"\S", "".join(line[:1] for line in listed.stdout.splitlines())))
