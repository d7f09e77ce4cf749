"""The server relays what it cannot read: neither a key of the pair's session nor a plaintext is there."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable
from pathlib import Path

from captures import Datagram, datagrams, echoes
from flows import PING, TABLE, Flows, seen
from harness import Lab, run_ltk, wait_for
from memory import holds, keys_in, memory_of

ALICE, BOB = "10.76.0.2", "10.76.0.3"
RELAYED, DATA = 0x80, 4  # first bytes of datagrams
RELAY_HEADER = 8  # bytes: type and channel

# Two NATs that no direct path leads through.
APART = f"""
name: apart
network: {{subnet: 10.76.0.0/24}}
nodes:
  hub: {{role: server, address: 10.76.0.1}}
  alice: {{address: {ALICE}}}
  bob: {{address: {BOB}}}
lab:
  sites:
    cloud: {{hosts: [hub]}}
    home: {{nat: symmetric, hosts: [alice]}}
    flat: {{nat: symmetric, hosts: [bob]}}
"""


def last_relayed(recorded: list[Datagram], source: str) -> bytes:
    """The data message of the clients' own session that came from `source` last."""
    found = [
        each.payload[RELAY_HEADER:]
        for each in recorded
        if each.source == source and each.payload[0] == RELAYED and each.payload[RELAY_HEADER] == DATA
    ]
    assert found, f"nothing that {source} sent was relayed"
    return alone(found)


def last_for_the_server(recorded: list[Datagram], source: str) -> bytes:
    """The data message of the session with the server that came from `source` last."""
    found = [each.payload for each in recorded if each.source == source and each.payload[0] == DATA]
    assert found, f"{source} said nothing to the server"
    return alone(found)


def alone(found: list[bytes]) -> bytes:
    """The last that is one datagram: a capture shows those that left together as one of all their bytes."""
    size = min(map(len, found))
    return next(each for each in reversed(found) if len(each) == size)


def private_key(lab: Lab, node: str) -> bytes:
    return base64.b64decode((Path("/var/lib/ltk") / lab.name / f"{node}.key").read_text())


def test_the_relay_holds_no_key_of_the_clients_session_and_no_plaintext(lab: Callable[..., Lab]) -> None:
    """Each search is tried on a process that does hold what it looks for."""
    made = lab(APART)
    flows = Flows(made)
    flows.count("relayed", "hub", "flat")
    plaintext = os.urandom(16)  # as much of a pattern as ping takes; it is repeated in each packet
    pids = [made.daemon_pid(node) for node in ("alice", "hub")]
    words = ["ping", "-n", "-i", "0.02", "-c", "1000", "-p", plaintext.hex(), *PING, BOB]
    with (
        made.capture("hub", "eth0") as outside,
        made.capture("hub", "ltk0") as inside,
        made.capture("alice", "ltk0") as at_alice,
        made.running("alice", *words) as ping,
    ):
        assert ping.stdout
        assert any("icmp_seq=60 " in line for line in ping.stdout), "sixty pings, relayed"
        in_alice, in_hub = (memory_of(pid) for pid in pids)
        ping.terminate()
        overheard = [outside(), inside()]
        sent = at_alice()
    assert flows.counted()["relayed"] >= seen(60), "the pings took another way than the relay"
    assert sent.count(plaintext) > 0, "the search finds the plaintext before it is sealed"
    assert holds(in_alice, plaintext), "the search finds the plaintext in a client"
    assert not holds(in_hub, plaintext), "a plaintext of the clients is in the server's memory"
    assert not holds(overheard, plaintext), "a plaintext of the clients passes the server"

    recorded = datagrams(overheard[0])
    home, flat = (flows.places.address[site] for site in ("home", "flat"))
    between = [last_relayed(recorded, home), last_relayed(recorded, flat)]
    with_server = last_for_the_server(recorded, home)
    keys = keys_in(in_alice, *between, with_server)
    assert None not in keys, "the search finds the keys of all of a client's sessions in the client"
    own, *foreign = keys_in(in_hub, with_server, *between)
    assert own == keys[2], "the search finds the server's own session in the server"
    assert foreign == [None, None], "the server holds a key that opens what it relays"
    for key in keys[:2]:
        assert key is not None
        assert not holds([*in_hub, *overheard], key), "the server holds a key of the clients' session"
    assert holds(in_hub, private_key(made, "hub")), "the search finds a private key where it belongs"
    assert not any(holds(in_hub, private_key(made, node)) for node in ("alice", "bob"))


def drops(lab: Lab, node: str, reason: str) -> int:
    """How often a node says that it has refused something for `reason`."""
    text = run_ltk("metrics", lab.name).stdout
    found = re.search(rf'^ltk_drops_total{{node="{node}",reason="{reason}"}} (\S+)$', text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def flip_relayed(lab: Lab, flows: Flows, site: str) -> None:
    """Turn one bit of the ciphertext around in each relayed data message that goes to `site`.

    Offsets are in bits from the UDP header: 8 bytes of it, 8 of the relay's, 16 of the data message's.
    """
    relayed = (
        f"ip daddr {flows.places.address[site]} meta length > 150 udp dport 1-65535 @th,64,8 0x80 @th,128,8 4"
    )
    rules = [
        f"add table inet {TABLE}",
        f"add counter inet {TABLE} flipped",
        f"add chain inet {TABLE} flip {{ type filter hook forward priority -20; }}",
        f"add rule inet {TABLE} flip {relayed} @th,320,1 0 counter name flipped @th,320,1 set 1 accept",
        f"add rule inet {TABLE} flip {relayed} @th,320,1 1 counter name flipped @th,320,1 set 0 accept",
    ]
    for rule in rules:
        lab.run("internet", "nft", rule)


def test_the_receiver_drops_relayed_packets_with_one_flipped_bit(lab: Callable[..., Lab]) -> None:
    made = lab(APART)
    flows = Flows(made)
    result = made.ping("alice", BOB, *PING, count=20)
    assert result["received"] == 20, result["output"]
    before = drops(made, "bob", "not-authentic")
    with made.capture("bob", "ltk0") as at_bob:
        flip_relayed(made, flows, "flat")
        result = made.ping("alice", BOB, "-W", "1", *PING, count=20)
        assert result["received"] == 0, result["output"]
        flipped = flows.counted()["flipped"]
        assert flipped >= 20
        wait_for(
            lambda: drops(made, "bob", "not-authentic") - before == flipped,
            f"bob to refuse each of the {flipped} changed packets, and nothing else",
        )
        made.run("internet", "nft", "flush", "chain", "inet", TABLE, "flip")
        result = made.ping("alice", BOB, *PING, count=20)
        assert result["received"] == 20, result["output"]
        delivered = [each for each in echoes(at_bob()) if each.is_request]
    assert len(delivered) == 20, "a packet that was changed on its way was delivered"
