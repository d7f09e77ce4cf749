"""The second apply writes nothing; a change is planned as just that, and disturbs nobody else."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from harness import Lab, run_ltk, wait_for

THREE = """
name: three
network:
  subnet: 10.61.0.0/24
nodes:
  hub: {role: server, address: 10.61.0.1}
  alice: {role: client, address: 10.61.0.2}
  bob: {role: client, address: 10.61.0.3, routes: [192.168.77.0/24]}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: port-restricted, hosts: [alice]}
    office: {nat: symmetric, hosts: [bob]}
"""
WITH_CAROL = THREE.replace("lab:", "  carol: {role: client, address: 10.61.0.4}\nlab:") + (
    "    cabin: {nat: port-restricted, hosts: [carol]}\n"
)


def sessions(lab: Lab) -> dict[tuple[str, str], tuple[float, int]]:
    """For each node and peer: when the last handshake was (by the age), and the daemon's process."""
    found = {}
    for node in lab.status()["nodes"]:
        for peer in node["peers"]:
            found[node["name"], peer["name"]] = (peer["handshake_age_s"], lab.daemon_pid(node["name"]))
    return found


def no_newer_handshake(before: dict, after: dict, *apart_from: str) -> None:
    """Assert that the sessions between the other nodes are the ones that were there before."""
    for (node, peer), (age, pid) in before.items():
        if node in apart_from or peer in apart_from:
            continue
        later_age, later_pid = after[node, peer]
        assert later_pid == pid, f"the daemon of {node} was started anew"
        assert later_age >= age, f"{node} and {peer} have shaken hands again"


def names(changes: list[dict]) -> set[tuple[str, str, str]]:
    return {(each["action"], each["resource"], each["name"]) for each in changes}


@contextmanager
def listening_to_the_kernel(lab: Lab, *places: str) -> Iterator[Callable[[], list[str]]]:
    """Everything that changes in these namespaces, as `ip monitor` and `nft monitor` hear it."""
    heard: list[str] = []
    threads = []
    processes = []
    for place in places:
        for words in (("ip", "monitor", "link", "address", "route", "rule"), ("nft", "monitor")):
            process = subprocess.Popen(lab.command(place, *words), stdout=subprocess.PIPE, text=True)
            processes.append(process)

            def listen(process: subprocess.Popen[str] = process, where: str = place) -> None:
                assert process.stdout
                heard.extend(f"{where}: {line.strip()}" for line in process.stdout)

            threads.append(threading.Thread(target=listen))
            threads[-1].start()
    try:
        yield lambda: list(heard)
    finally:
        for process in processes:
            process.terminate()
        for thread in threads:
            thread.join(10)
        for process in processes:
            process.wait(10)


@pytest.fixture
def three(lab: Callable[..., Lab]) -> Lab:
    made = lab(THREE)
    for source, target in (("alice", "10.61.0.3"), ("bob", "10.61.0.1")):
        assert made.ping(source, target)["received"] == 3
    return made


def test_a_plan_after_an_apply_has_nothing_to_do(three: Lab) -> None:
    done = run_ltk("plan", str(three.path), status=0)
    assert "nothing to do" in done.stderr
    assert three.plan() == []


def test_a_second_apply_sends_nothing_that_changes_state(three: Lab) -> None:
    places = ("internet", "cloud", "home", "alice", "hub")
    with listening_to_the_kernel(three, *places) as heard:
        # the listeners listen: a change made by hand is heard in every place, from both monitors
        for place in places:
            three.run(place, "ip", "link", "add", "trial", "type", "bridge")
            three.run(place, "nft", "add", "table", "inet", "trial")
        wait_for(lambda: all(f"{place}: add table inet trial" in heard() for place in places), "nft's events")
        wait_for(lambda: all(any(p in h and "trial:" in h for h in heard()) for p in places), "links' events")
        for place in places:
            three.run(place, "nft", "delete", "table", "inet", "trial")
        wait_for(
            lambda: all(f"{place}: delete table inet trial" in heard() for place in places), "nft's events"
        )
        before = heard()
        outcome = three.apply()
        # whatever the apply caused has been heard once this later change is
        three.run("hub", "nft", "add", "table", "inet", "last")
        wait_for(lambda: any("table inet last" in line for line in heard()), "the last event")
        during = [
            line for line in heard()[len(before) :] if "inet last" not in line and "generation" not in line
        ]
        during = [line for line in during if "new generation" not in line and not line.endswith("(nft)")]
    assert outcome["changes"] == []
    assert outcome["writes"] == {"netlink": 0, "nft": 0, "sysctl": 0}
    assert during == []


def test_the_writes_of_the_first_apply_are_counted(lab: Callable[..., Lab]) -> None:
    """The zero of the second apply is worth something only if the counter counts."""
    writes = lab(THREE, apply=False).apply()["writes"]
    assert writes["netlink"] > 50
    assert writes["nft"] >= 3
    assert writes["sysctl"] > 10


def test_a_changed_address_is_planned_as_just_that(three: Lab) -> None:
    before = sessions(three)
    three.rewrite(THREE.replace("10.61.0.2", "10.61.0.22"))
    assert names(three.plan()) == {
        ("remove", "address", "10.61.0.2/24 dev ltk0"),
        ("create", "address", "10.61.0.22/24 dev ltk0"),
        ("update", "daemon", "alice"),
        ("update", "daemon", "bob"),
        ("update", "daemon", "hub"),
    }
    three.apply()
    assert three.plan() == []
    no_newer_handshake(before, sessions(three))
    assert three.ping("bob", "10.61.0.22")["received"] == 3
    assert three.ping("bob", "10.61.0.2", count=1)["received"] == 0


def test_a_changed_route_is_planned_as_just_that(three: Lab) -> None:
    before = sessions(three)
    three.rewrite(THREE.replace("192.168.77.0/24", "192.168.78.0/24"))
    planned = names(three.plan())
    assert planned == {
        *(
            (action, "route", net)
            for action, net in (("remove", "192.168.77.0/24"), ("create", "192.168.78.0/24"))
        ),
        ("update", "daemon", "hub"),
        ("update", "daemon", "alice"),
    }
    three.apply()
    assert three.plan() == []
    no_newer_handshake(before, sessions(three))
    three.run("bob", "ip", "address", "add", "192.168.78.1/32", "dev", "lo")
    assert three.ping("alice", "192.168.78.1")["received"] == 3


def test_a_new_client_leaves_the_sessions_of_the_others_alone(three: Lab) -> None:
    before = sessions(three)
    three.rewrite(WITH_CAROL)
    changed = three.plan()
    told = {each["name"] for each in changed if each["action"] == "update"}
    assert told == {"hub", "alice", "bob"}, "their daemons hear of her"
    made = {each["scope"] for each in changed if each["action"] == "create"} - {"", three.scope("internet")}
    assert made == {three.scope(place) for place in ("carol", "cabin")}
    assert {each["action"] for each in changed} == {"create", "update"}
    three.apply()
    assert three.plan() == []
    no_newer_handshake(before, sessions(three))
    assert three.ping("carol", "10.61.0.2")["received"] == 3

    before = sessions(three)
    three.rewrite(THREE)
    assert {each["action"] for each in three.plan()} == {"remove", "update"}
    three.apply()
    assert three.plan() == []
    no_newer_handshake({k: v for k, v in before.items() if "carol" not in k}, sessions(three))
    assert three.scope("carol") not in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout


DRIFT = {
    "a route removed": ("alice", "ip route del 192.168.77.0/24 dev ltk0"),
    "an address removed": ("bob", "ip address del 10.61.0.3/24 dev ltk0"),
    "a device down": ("alice", "ip link set ltk0 down"),
    "an mtu changed": ("alice", "ip link set ltk0 mtu 1300"),
    "a cable removed": ("home", "ip link del wan"),
    "a bridge removed": ("home", "ip link del lan"),
    "a port taken out of its bridge": ("home", "ip link set alice nomaster"),
    "a rule set flushed": ("home", "nft flush table inet ltk"),
    "a rule added": ("home", "nft insert rule inet ltk forward drop"),
    "a rule set removed": ("home", "nft delete table inet ltk"),
    "a sysctl changed": ("home", "sysctl -q net.ipv4.ip_forward=0"),
    "the loopback down": ("alice", "ip link set lo down"),
}


@pytest.mark.parametrize("drift", DRIFT)
def test_what_was_changed_by_hand_is_planned_and_put_right(drift: str, three: Lab) -> None:
    place, words = DRIFT[drift]
    three.run(place, *words.split())
    status = run_ltk("status", three.name, "--exit-code", status=2)
    assert "differs" in status.stdout
    assert three.plan() != []
    three.apply()
    assert three.plan() == []
    # a router that had no rules has let flows through that it will now map: the first packets may pay for it
    wait_for(lambda: three.ping("alice", "10.61.0.3", "-W", "1", count=1)["received"], "alice to reach bob")
    assert three.ping("alice", "10.61.0.3")["received"] == 3


def test_only_the_nodes_that_are_named_are_put_right(three: Lab) -> None:
    for place in ("alice", "bob"):
        three.run(place, "ip", "route", "delete", "default")
    (change,) = three.apply("--only", "alice")["changes"]
    assert (change["resource"], change["scope"]) == ("route", three.scope("alice"))
    (left,) = three.plan()
    assert (left["resource"], left["scope"]) == ("route", three.scope("bob"))
    three.apply("--only", "alice,bob")
    assert three.plan() == []


def test_a_namespace_deleted_by_hand_is_built_again_with_its_daemon(three: Lab) -> None:
    subprocess.run(["ip", "netns", "del", three.scope("alice")], check=True)
    three.apply()
    assert three.plan() == []
    assert three.ping("alice", "10.61.0.3")["received"] == 3


def test_a_killed_apply_leaves_nothing_that_the_next_one_cannot_finish(lab: Callable[..., Lab]) -> None:
    """Killed as soon as the kernel shows the first namespaces: in the middle of everything else."""
    made = lab(THREE, apply=False)
    process = subprocess.Popen(
        [sys.executable, "-m", "ltk", "apply", str(made.path)], stderr=subprocess.DEVNULL
    )
    ip_netns = ["ip", "netns", "list"]
    wait_for(lambda: made.scope("") in subprocess.check_output(ip_netns, text=True), "the first namespace")
    process.kill()
    process.wait()
    made.apply()
    assert made.plan() == []
    assert made.ping("alice", "10.61.0.3")["received"] == 3
