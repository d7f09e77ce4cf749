"""Two clients behind NATs: direct where it is possible, relayed where it is not, nothing lost in between."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from flows import PING, Flows, flush_nat, longest_gap, seen
from harness import Lab, run_ltk, wait_for

BOB = "10.71.0.3"
DATAGRAMS = 20


def homes(
    a: str = "port-restricted", b: str = "port-restricted", *, delay: str = "10ms", more: str = ""
) -> str:
    """Alice at home, bob in his flat: 40 ms of round trip between them, and as much to the hub."""
    return f"""
name: homes
network: {{subnet: 10.71.0.0/24}}
nodes:
  hub: {{role: server, address: 10.71.0.1{more}}}
  alice: {{address: 10.71.0.2}}
  bob: {{address: {BOB}}}
lab:
  sites:
    cloud: {{hosts: [hub]}}
    home: {{nat: {a}, hosts: [alice], link: {{delay: {delay}}}}}
    flat: {{nat: {b}, hosts: [bob], link: {{delay: {delay}}}}}
"""


def watched(lab: Lab) -> Flows:
    """Counters of data between the two homes, and between each of them and the hub."""
    flows = Flows(lab)
    for name, source, target in (
        ("a_b", "home", "flat"),
        ("b_a", "flat", "home"),
        ("a_hub", "home", "hub"),
        ("hub_b", "hub", "flat"),
    ):
        flows.count(name, source, target)
    return flows


def spent(flows: Flows, lab: Lab, count: int = DATAGRAMS) -> dict[str, int]:
    """What `count` pings from alice to bob put on each way; none of them is lost."""
    before = flows.counted()
    result = lab.ping("alice", BOB, *PING, count=count)
    assert result["received"] == count, result["output"]
    after = flows.counted()
    return {name: after[name] - before[name] for name in after}


def is_direct(flows: Flows, lab: Lab) -> bool:
    used = spent(flows, lab, 5)
    return min(used["a_b"], used["b_a"]) >= seen(5) and used["a_hub"] == used["hub_b"] == 0


def is_relayed(flows: Flows, lab: Lab) -> bool:
    used = spent(flows, lab, 5)
    return used["a_b"] == used["b_a"] == 0 and min(used["a_hub"], used["hub_b"]) >= seen(5)


def duplicates(output: str) -> int:
    return output.count("DUP!")


def test_two_homes_become_direct_within_a_second_and_no_ping_is_lost(lab: Callable[..., Lab]) -> None:
    made = lab(homes())
    flows = watched(made)
    first = made.ping("alice", BOB, *PING, count=40)
    assert first["received"] == 40, first["output"]
    assert duplicates(first["output"]) == 0
    used = spent(flows, made)
    assert used["a_b"] >= seen(DATAGRAMS), used
    assert used["b_a"] >= seen(DATAGRAMS), used
    assert used["a_hub"] == used["hub_b"] == 0, f"the data still crosses the server: {used}"
    # forty pings take two seconds: by the middle of them the data went between the two addresses
    total = flows.counted()
    assert total["a_hub"] <= 20 + 12, f"direct only after {total['a_hub']} of the first pings: {total}"
    peer = made.peer("alice", "bob")
    assert peer["path"] == "direct", peer
    assert peer["endpoint"].startswith(flows.places.address["flat"]), peer
    assert "direct" in made.logs()


@pytest.mark.parametrize("b", ["symmetric", "symmetric-sequential"])
def test_hard_nats_are_relayed_without_loss_and_status_says_why(b: str, lab: Callable[..., Lab]) -> None:
    made = lab(homes("symmetric", b))
    flows = watched(made)
    spent(flows, made, 30)
    wait_for(lambda: made.peer("alice", "bob")["direct_failures"] >= 1, "the attempt to have failed")
    used = spent(flows, made)
    assert used["a_b"] == used["b_a"] == 0, used
    assert used["a_hub"] >= seen(DATAGRAMS), used
    for one, other in (("alice", "bob"), ("bob", "alice")):
        peer = made.peer(one, other)
        assert peer["path"] == "relay", peer
        assert "NAT" in peer["reason"], peer


def test_a_killed_server_costs_a_direct_pair_nothing(lab: Callable[..., Lab]) -> None:
    made = lab(homes())
    flows = watched(made)
    wait_for(lambda: is_direct(flows, made), "a direct path")
    os.kill(made.daemon_pid("hub"), signal.SIGKILL)
    result = made.ping("alice", BOB, "-i", "0.1", *PING, count=50)
    assert result["received"] == 50, result["output"]


def test_a_restarted_server_relays_again_within_three_seconds(lab: Callable[..., Lab]) -> None:
    made = lab(homes("symmetric", "symmetric"))
    flows = watched(made)
    wait_for(lambda: is_relayed(flows, made), "the relay")
    words = ["ping", "-n", "-D", "-i", "0.1", "-c", "100", *PING, BOB]
    with made.running("alice", *words) as ping:
        assert ping.stdout
        lines = []
        for line in ping.stdout:
            lines.append(line)
            if "icmp_seq=20 " in line:
                os.kill(made.daemon_pid("hub"), signal.SIGKILL)
    output = "".join(lines)
    assert longest_gap(output) <= 3.0, output
    assert is_relayed(flows, made)


def test_a_nat_that_forgets_and_gives_new_ports_is_survived(lab: Callable[..., Lab]) -> None:
    made = lab(homes())
    flows = watched(made)
    wait_for(lambda: is_direct(flows, made), "a direct path")
    words = ["ping", "-n", "-D", "-i", "0.1", "-c", "120", *PING, BOB]
    with made.running("alice", *words) as ping:
        assert ping.stdout
        lines = []
        for line in ping.stdout:
            lines.append(line)
            if "icmp_seq=20 " in line:
                flush_nat(made, "home", new_ports=True)
    output = "".join(lines)
    assert longest_gap(output) <= 3.0, output
    wait_for(lambda: is_direct(flows, made), "a direct path by the new port", 60)


def test_two_clients_on_one_lan_connect_over_the_lan(lab: Callable[..., Lab]) -> None:
    """Their router does not turn packets around for them (no hairpin): only the LAN itself can carry this."""
    yaml = homes().replace(", hosts: [alice]", ", hosts: [alice, bob]")
    made = lab("\n".join(line for line in yaml.splitlines() if "flat:" not in line))
    made.ping("alice", BOB, *PING, count=20)

    def over_the_lan() -> bool:
        before = made.counters("internet")["carried_udp"]
        result = made.ping("alice", BOB, *PING, count=20)
        assert result["received"] == 20, result["output"]
        return made.counters("internet")["carried_udp"] - before < 20

    wait_for(over_the_lan, "the data to leave the internet alone")
    assert made.peer("alice", "bob")["endpoint"].startswith("192.168.1."), made.peer("alice", "bob")


def test_isolated_clients_reach_the_server_and_not_each_other(lab: Callable[..., Lab]) -> None:
    made = lab(homes(more=", isolation: true"))
    flows = watched(made)
    assert made.ping("alice", "10.71.0.1", *PING, count=10)["received"] == 10
    assert made.ping("alice", BOB, "-W", "1", *PING, count=10)["received"] == 0
    used = flows.counted()
    assert used["a_b"] == used["b_a"] == used["hub_b"] == 0, used


def test_ltk_ping_reaches_everybody_in_a_network_of_hard_and_easy_nats(lab: Callable[..., Lab]) -> None:
    made = lab(homes("symmetric", "port-restricted"))
    run_ltk("ping", made.name, "--timeout", "10")
