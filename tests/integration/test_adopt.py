"""What others made and is in the way: refused by name, or taken over where that was asked for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Lab, run_ltk, wait_for
from test_reconcile import THREE

from ltk.errors import InTheWayError
from ltk.reconcile import apply
from ltk.topology.load import load_topology

DUAL = THREE.replace("subnet: 10.61.0.0/24", "subnet: [10.61.0.0/24, 'fd61::/64']")
ROUTE = "192.168.77.0/24"
IN_OUR_PLACES = {  # by place: what somebody puts there, and what is said of it
    "alice": (
        f"ip route replace {ROUTE} dev eth0 proto static",
        "ip address del 10.61.0.2/24 dev ltk0 && ip address add 10.61.0.2/24 dev ltk0",
        "ip -6 address del fd61::2/64 dev ltk0 && ip -6 address add fd61::2/64 dev ltk0 nodad",
    ),
    "hub": (f"ip route del {ROUTE}", f"ip route add blackhole {ROUTE}"),
    "home": ("ip link del lan", "ip link add lan type bridge"),
}


def in_process(made: Lab) -> InTheWayError | None:
    """Apply it here, as `ltk apply` does; returns how it was refused."""
    try:
        apply.converge(load_topology(str(made.path)), lambda _: None)
    except InTheWayError as error:
        return error
    return None


def routes(made: Lab, place: str) -> str:
    return made.run(place, "ip", "route", "show", ROUTE).stdout


@pytest.fixture
def taken(lab: Callable[..., Lab]) -> Lab:
    """A lab of which several places have been taken by somebody else, all at once."""
    made = lab(DUAL)
    for place, commands in IN_OUR_PLACES.items():
        for words in commands:
            made.run(place, "sh", "-c", words)
    return made


def devices(made: Lab, place: str) -> list[dict[str, Any]]:
    """The devices of a place with their addresses, less the state that the kernel comes to by and by."""
    listed = json.loads(made.run(place, "ip", "-j", "address").stdout)
    return [{key: value for key, value in each.items() if key != "operstate"} for each in listed]


def test_all_that_is_in_the_way_is_named_and_taken_over_where_that_is_asked_for(taken: Lab) -> None:
    before = {place: devices(taken, place) for place in IN_OUR_PLACES}
    done = run_ltk("apply", str(taken.path), status=4)
    for words in (
        f"route {ROUTE} dev eth0 in {taken.scope('alice')}",
        f"address 10.61.0.2/24 dev ltk0 in {taken.scope('alice')}",
        f"address fd61::2/64 dev ltk0 in {taken.scope('alice')}",
        f"route {ROUTE} in {taken.scope('hub')}",
        f"the device lan in {taken.scope('home')}",
        "--adopt",
    ):
        assert words in done.stderr
    assert {place: devices(taken, place) for place in IN_OUR_PLACES} == before

    changes = taken.apply("--adopt")["changes"]
    adopted = [each for each in changes if "taken over" in each["reason"]]
    assert sorted(each["resource"] for each in adopted) == [
        "address",
        "address",
        "bridge",
        "route",
        "route",
    ]
    assert taken.plan() == [], "and it is ltk's from now on"
    for target in ("10.61.0.3", "fd61::3"):
        wait_for(
            lambda to=target: taken.ping("alice", to, "-W", "1", count=1)["received"], f"{target} to answer"
        )


def test_nothing_is_taken_over_unasked(taken: Lab) -> None:
    assert in_process(taken) is not None, "what somebody else made was taken over"


def test_a_route_of_somebody_else_is_not_replaced(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    made.run("alice", "sh", "-c", f"ip route replace {ROUTE} dev eth0 proto static")
    before = routes(made, "alice")
    refused = in_process(made)
    assert routes(made, "alice") == before, "a route of somebody else was changed"
    assert ROUTE in str(refused)


def test_a_route_of_the_same_destination_and_another_metric_is_not_in_the_way(
    lab: Callable[..., Lab],
) -> None:
    made = lab(THREE)
    made.run("alice", "sh", "-c", f"ip route add {ROUTE} dev eth0 metric 7")
    before = routes(made, "alice")
    assert made.plan() == []
    made.run("alice", "sh", "-c", f"ip route del {ROUTE} dev ltk0")
    assert [each["action"] for each in made.apply()["changes"]] == ["create"]
    assert routes(made, "alice") == before


def test_whatever_bears_the_mark_is_ltks_in_any_number(lab: Callable[..., Lab]) -> None:
    made = lab(THREE)
    made.run("alice", "sh", "-c", "ip route add 10.1.0.0/16 dev eth0 proto 108 metric 9")
    made.run("alice", "sh", "-c", f"ip route append {ROUTE} dev eth0 proto 108", check=False)
    names = [(each["action"], each["name"]) for each in made.plan()]
    assert ("remove", "10.1.0.0/16 metric 9") in names
    made.apply()
    assert made.plan() == []


@pytest.fixture
def somebodys_namespace(tmp_path: Path) -> Iterator[Lab]:
    """A lab that is not up, and in whose place for alice there is a namespace with things in it."""
    made = Lab(THREE, tmp_path / "lab.yaml")
    scope = made.scope("alice")
    subprocess.run(["ip", "netns", "add", scope], check=True)
    made.run("alice", "sh", "-c", "ip link add theirs type bridge")
    yield made
    made.destroy()
    subprocess.run(["ip", "netns", "del", scope], check=False, stderr=subprocess.DEVNULL)


def test_a_namespace_is_taken_over_with_all_that_is_in_it(somebodys_namespace: Lab) -> None:
    made = somebodys_namespace
    made.run("alice", "sh", "-c", "ip tuntap add ltk0 mode tun")
    run_ltk("apply", str(made.path), status=4)
    made.apply("--adopt")
    assert made.plan() == []
    assert made.ping("alice", "10.61.0.3")["received"] == 3
    assert "theirs" in made.run("alice", "ip", "link", "show", "theirs").stdout
    made.destroy()
    assert made.scope("alice") not in subprocess.check_output(["ip", "netns", "list"], text=True)


def test_what_cannot_be_taken_over_is_said_before_anything_is_changed(somebodys_namespace: Lab) -> None:
    made = somebodys_namespace
    made.run("alice", "sh", "-c", "ip link add eth0 type bridge")
    before = made.run("alice", "ip", "-j", "-d", "link").stdout
    done = run_ltk("apply", str(made.path), "--adopt", status=4)
    assert f"the device eth0 in {made.scope('alice')} is not ltk's" in done.stderr
    assert "Remove or rename" in done.stderr
    assert made.run("alice", "ip", "-j", "-d", "link").stdout == before
    scopes = subprocess.check_output(["ip", "netns", "list"], text=True).split()
    assert [each for each in scopes if each.startswith(f"ltk-{made.name}-")] == [made.scope("alice")]
