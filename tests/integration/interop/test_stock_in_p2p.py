"""A stock client among ltk clients that find each other: through the server for it, directly for them."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from flows import PING, Flows, seen
from harness import Lab, wait_for
from place import Place
from stock_client import move, stock_client
from test_direct_paths import duplicates, longest_gap
from wiretap import Kind, tapped

HUB, ALICE, BOB, PHONE = (f"10.61.0.{number}" for number in (1, 2, 3, 9))
ADDRESSES = {"hub": HUB, "alice": ALICE, "bob": BOB}
STREAM = 4_000_000  # bits per second over TCP
SECONDS = 6
BYTES = STREAM // 8 * SECONDS

MIXED = f"""
name: mixed
network: {{subnet: 10.61.0.0/24}}
nodes:
  hub: {{role: server, address: {HUB}}}
  alice: {{address: {ALICE}}}
  bob: {{address: {BOB}}}
  phone: {{role: wireguard, address: {PHONE}}}
lab:
  sites:
    cloud: {{hosts: [hub]}}
    home: {{nat: port-restricted, hosts: [alice]}}
    flat: {{nat: port-restricted, hosts: [bob]}}
    mobile: {{hosts: [phone]}}
"""


def test_a_stock_client_reaches_everybody_while_the_others_are_direct(
    lab: Callable[..., Lab], tmp_path: Path
) -> None:
    made = lab(MIXED)
    flows = Flows(made)
    for name, source, target in (
        ("a_b", "home", "flat"),
        ("b_a", "flat", "home"),
        ("a_hub", "home", "hub"),
        ("phone_hub", "phone", "hub"),
        ("phone_b", "phone", "flat"),
    ):
        flows.count(name, source, target, data_only=name not in ("phone_b",))

    def pair_is_direct() -> bool:
        before = flows.counted()
        result = made.ping("alice", BOB, *PING, count=20)
        assert result["received"] == 20, result["output"]
        used = {name: count - before[name] for name, count in flows.counted().items()}
        return min(used["a_b"], used["b_a"]) >= seen(20) and used["a_hub"] == 0

    with stock_client(made, "phone", tmp_path) as phone:
        assert phone.place.ping(HUB).received == 5  # the hub has to know where the phone is
        with phone.place.pinging(HUB, *PING, count=200, interval=0.02) as meanwhile:
            wait_for(pair_is_direct, "the direct path between alice and bob")
            assert (pings := meanwhile.result()).received == 200, pings.output
        for name, address in ADDRESSES.items():
            pings = phone.place.ping(address, *PING, count=20)
            assert pings.received == 20, f"from the phone to {name}:\n{pings.output}"
            pings = Place(made.scope(name)).ping(PHONE, *PING, count=20)
            assert pings.received == 20, f"from {name} to the phone:\n{pings.output}"
        assert pair_is_direct(), "the stock client's traffic has moved the others' path"
    used = flows.counted()
    assert used["phone_hub"] >= 200 + 6 * 20, used
    assert used["phone_b"] == 0, f"a stock client has a session with the server alone: {used}"


def test_a_stock_client_roams_with_a_stream_going_on(lab: Callable[..., Lab], tmp_path: Path) -> None:
    """First to another port, then to another address; the session goes on, and so do ping and TCP."""
    made = lab(MIXED)
    old = Flows(made).places.address["phone"]
    new = str(ipaddress.ip_address(old) + 100)
    capture = tapped(Place(made.scope("internet")), "mobile", tmp_path / "roaming.pcap")
    with stock_client(made, "phone", tmp_path) as phone, made.running("alice", "iperf3", "-s", "-1"):
        listening = made.command("alice", "ss", "-ltn")
        wait_for(lambda: ":5201" in subprocess.check_output(listening, text=True), "iperf3 to listen")
        assert phone.place.ping(ALICE).received == 5
        first = int(phone.wg("show", "listen-port"))
        second = first - 1 if first > 50000 else first + 1
        # as many bytes as take so long where nothing is in the way
        stream = ["iperf3", "-c", ALICE, "-b", str(STREAM), "-n", str(BYTES), "-J"]
        pings = ["ping", "-n", "-D", "-i", "0.1", "-c", str(10 * SECONDS), *PING, ALICE]
        with (
            capture as tap,
            phone.place.running(*stream) as sender,
            phone.place.running(*pings) as ping,
        ):
            assert ping.stdout
            lines = []
            for line in ping.stdout:
                lines.append(line)
                if "icmp_seq=15 " in line:
                    phone.wg("set", "listen-port", str(second))
                if "icmp_seq=35 " in line:
                    move(made, phone, "mobile", old, new)
            output = "".join(lines)
            assert f"icmp_seq={10 * SECONDS} " in output, f"the pings have stopped:\n{output}"
            assert longest_gap(output) <= 1.5, output
            assert duplicates(output) == 0, output
            said, _ = sender.communicate(timeout=60)
            messages = tap()
        back = Place(made.scope("alice")).ping(PHONE, count=20)
    end = json.loads(said)["end"]
    assert end["sum_received"]["bytes"] >= 0.8 * BYTES, said  # what is under way at the end is not among it
    assert back.received == 20, f"the server has lost the phone:\n{back.output}"
    sources = {(each.source, each.port) for each in messages if each.source in (old, new)}
    assert sources == {(old, first), (old, second), (new, second)}
    assert {each.kind for each in messages} == {Kind.DATA}, "the session goes on: no new handshake"
