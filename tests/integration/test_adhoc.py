"""`ltk serve` and `ltk join`, typed on machines without any file but the secret.

The machines are hosts of a lab without tunnels: one on the internet, two behind NATs, and one whose secret is
another. What went where is counted on the wire; what the commands say of it is compared with that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from echoes import pinging
from flows import PING, Flows, seen
from harness import Lab, run_ltk, wait_for
from machines import PORT, YAML, Machines

LATE = float(os.environ.get("LTK_SERVER_LATE", "10"))  # seconds after its clients; a release tries 65
ALICE, BOB, SERVER = "10.0.0.2", "10.0.0.3", "10.0.0.1"


@pytest.fixture
def machines(lab: Callable[..., Lab], tmp_path: Path) -> Machines:
    """Four machines with nothing of ltk's on them."""
    return Machines(lab(YAML), tmp_path)


def test_three_commands_make_a_network_also_when_the_server_comes_late(machines: Machines) -> None:
    flows = Flows(machines.lab)
    places = flows.places.address
    hub = places["hub"]
    for a, b in (("home", "office"), ("office", "home"), ("home", "hub"), ("hub", "home"), ("hub", "eve")):
        flows.count(f"{a}_{b}", a, b)
    flows.count("hub_eve_any", "hub", "eve", data_only=False)
    flows.count("eve_hub_any", "eve", "hub", data_only=False)
    with ExitStack() as stack:
        began = time.monotonic()
        alice = stack.enter_context(machines.join("alice", hub, f"{ALICE}/24"))
        bob = stack.enter_context(machines.join("bob", hub, f"{BOB}/24"))
        wrong = machines.secret("correct horse battery stapler")
        eve = stack.enter_context(machines.join("eve", hub, "10.0.0.4/24", key=wrong))
        for each in (alice, bob):
            each.hear("ltk0 is up")
        to_server = stack.enter_context(pinging(machines.lab, "alice", SERVER))
        to_bob = stack.enter_context(pinging(machines.lab, "alice", BOB, *PING))
        told = alice.hear(f"no answer from {hub}:{PORT} after ")
        assert "secret" in told
        wait_for(lambda: time.monotonic() - began > LATE, "the server is late", LATE + 30)

        server = stack.enter_context(machines.serve("hub"))
        assert alice.hear("server reached, observed as ").startswith(
            f"server reached, observed as {places['home']}:"
        )
        bob.hear(f"server reached, observed as {places['office']}:")
        server.hear(f"{ALICE} has joined, seen at {places['home']}:")
        server.hear(f"{BOB} has joined, seen at {places['office']}:")
        to_server.wait_for_more(5)
        to_bob.wait_for_more(5)
        direct = alice.hear(f"direct path to {BOB} established, ")
        assert 15 <= float(direct.split()[-2]) <= 500, direct  # the links have 20 ms there and back
        bob.hear(f"direct path to {ALICE} established, ")
        lines = alice.lines
        assert lines.index(f"{BOB} reached, relayed through the server") < lines.index(direct)
        assert flows.counted()["home_hub"] > 0, "the first went by the relay"

        before = flows.counted()
        to_bob.wait_for_more(25)
        spent = {name: packets - before[name] for name, packets in flows.counted().items()}
        assert min(spent["home_office"], spent["office_home"]) >= seen(25)
        assert spent["home_hub"] <= 5, "data by way of the server, which pings to it are none of"

        assert (to_server.missing(), to_bob.missing()) == ([], [])
        # Another secret: the server hears it, and not one packet says so.
        eve.hear(f"no answer from {hub}:{PORT} after ")
        assert not eve.said("server reached")
        assert flows.counted()["eve_hub_any"] > 0, "she has asked"
        assert flows.counted()["hub_eve_any"] == 0, "packets from the server to her"
        assert not server.said("10.0.0.4")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_nothing_is_left_of_a_command_however_it_ends(machines: Machines, number: signal.Signals) -> None:
    hub = Flows(machines.lab).places.address["hub"]
    clean = {host: machines.looks(host) for host in ("hub", "alice")}
    with ExitStack() as stack:
        server = stack.enter_context(machines.serve("hub"))
        alice = stack.enter_context(machines.join("alice", hub, f"{ALICE}/24"))
        alice.hear("server reached, observed as ")
        server.hear(f"{ALICE} has joined")
        assert "ltk0" in machines.devices("alice") & machines.devices("hub")
        status = alice.stop(number)
        if number is not signal.SIGKILL:
            assert status == 0
            assert alice.said("stopped; ltk0 is gone")
            server.hear(f"{ALICE} has left")
        server.stop(number)
        assert {host: machines.looks(host) for host in ("hub", "alice")} == clean


def test_clients_without_direct_paths_are_relayed(machines: Machines) -> None:
    flows = Flows(machines.lab)
    hub = flows.places.address["hub"]
    flows.count("direct", "home", "office", data_only=False)
    flows.count("relayed", "home", "hub")
    with ExitStack() as stack:
        stack.enter_context(machines.serve("hub"))
        alice = stack.enter_context(machines.join("alice", hub, f"{ALICE}/24", "--no-p2p"))
        bob = stack.enter_context(machines.join("bob", hub, f"{BOB}/24"))
        for each in (alice, bob):
            each.hear("server reached")
        assert machines.lab.ping("alice", BOB, *PING, count=10)["received"] == 10
        alice.hear(f"{BOB} reached, relayed through the server")
        assert flows.counted()["relayed"] >= seen(10)
        assert flows.counted()["direct"] == 0


def test_a_server_that_restarts_is_found_again_and_a_direct_pair_loses_nothing(machines: Machines) -> None:
    hub = Flows(machines.lab).places.address["hub"]
    with ExitStack() as stack:
        server = stack.enter_context(machines.serve("hub"))
        alice = stack.enter_context(machines.join("alice", hub, f"{ALICE}/24"))
        bob = stack.enter_context(machines.join("bob", hub, f"{BOB}/24"))
        for each in (alice, bob):
            each.hear("server reached")
        to_bob = stack.enter_context(pinging(machines.lab, "alice", BOB))
        stack.enter_context(pinging(machines.lab, "alice", SERVER))
        alice.hear(f"direct path to {BOB} established")
        # Each end changes over when it has a proof of its own. What the server still has in hand for the
        # later one dies with it: only from here on are they a direct pair.
        bob.hear(f"direct path to {ALICE} established")
        to_bob.wait_for_more(5)
        server.stop(signal.SIGKILL)
        # Nobody says goodbye. Pings that are not answered tell it, then a handshake that is not.
        alice.hear(f"server lost: no answer from {hub}:{PORT}", 60)
        again = stack.enter_context(machines.serve("hub"))
        alice.hear(f"server reached again, at {hub}:{PORT}", 60)
        again.hear(f"{ALICE} has joined", 60)
        to_bob.wait_for_more(5)
        assert to_bob.missing() == []


def test_two_clients_with_one_address_are_told_of_at_the_server(machines: Machines) -> None:
    hub = Flows(machines.lab).places.address["hub"]
    with ExitStack() as stack:
        server = stack.enter_context(machines.serve("hub"))
        for host in ("alice", "bob"):
            stack.enter_context(machines.join(host, hub, f"{ALICE}/24")).hear("ltk0 is up")
            stack.enter_context(pinging(machines.lab, host, SERVER))
        told = server.hear(f"{ALICE} is at ", 120)
        assert "do two clients have that address?" in told


def test_what_is_in_the_way_is_told_and_left_alone(machines: Machines) -> None:
    before = machines.looks("hub")
    cases = (
        (("serve", "--address", "203.0.113.77/24"), 4, ["already", "Choose a subnet"]),
        (("join", "10.0.0.7", "--address", "10.0.0.2/24"), 3, ["10.0.0.7", "the tunnel"]),
        (("serve", "--address", "10.0.0.1/24", "--device", "lo"), 4, ["lo", "--device"]),
        (("serve", "--address", "10.0.0.1/24", "--listen", "192.0.2.1:9000"), 1, ["192.0.2.1"]),
    )
    for words, status, said in cases:
        with machines.typed("hub", *words, "--secret-file", str(machines.key)) as command:
            assert command.process.wait(30) == status, command.output.read_text()
            text = command.output.read_text()
            assert all(each in text for each in said), text
            assert "Traceback" not in text
    assert machines.looks("hub") == before


def test_ipv6_inside_and_a_device_of_ones_own_name(machines: Machines) -> None:
    hub = Flows(machines.lab).places.address["hub"]
    with ExitStack() as stack:
        stack.enter_context(machines.serve("hub", address="fd00::1/120"))
        words = ("fd00::2/120", "--device", "tunnel")
        alice = stack.enter_context(machines.join("alice", hub, *words))
        alice.hear("tunnel is up: fd00::2/120")
        alice.hear("server reached")
        assert machines.lab.ping("alice", "fd00::1", "-6", count=5)["received"] == 5
        machines.lab.run("alice", "ip", "link", "delete", "tunnel")
        alice.hear("tunnel is up again")
        assert machines.lab.ping("alice", "fd00::1", "-6", count=5)["received"] == 5


def test_a_client_joins_a_topology_that_has_the_same_secret(lab: Callable[..., Lab], tmp_path: Path) -> None:
    text = """
name: mixed
network: {subnet: 10.0.0.0/24, secret: {file: key28}}
nodes:
  hub: {role: server, listen: 9000}
  alice: {address: 10.0.0.2}
  bob: {address: 10.0.0.3}
  eve: {role: host}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: port-restricted, hosts: [alice]}
    office: {nat: port-restricted, hosts: [bob]}
    street: {nat: port-restricted, hosts: [eve]}
"""
    made = lab(text, apply=False)
    machines = Machines(made, tmp_path)
    made.apply()
    assert made.plan() == []
    hub = Flows(made).places.address["hub"]
    run_ltk("fault", made.name, "kill", "bob")
    with machines.join("eve", hub, f"{BOB}/24") as instead:
        instead.hear("server reached, observed as ")
        assert made.ping("alice", BOB, count=5)["received"] == 5
        instead.hear(f"direct path to {ALICE} established")
