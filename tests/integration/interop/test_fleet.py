"""A fleet over SSH: real servers of SSH, the real Ansible, and what `ltk apply --hosts` has it do."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

from harness import wait_for
from over_ssh import ADDRESSES, Fleet, fleet
from wheels import make_wheel

PLACES = {
    "hub": 'role: server, address: 10.0.0.1, endpoint: "203.0.113.2:51820"',  # and there SSH is, too
    "alice": "address: 10.0.0.2, ssh: 203.0.113.30",
    "bob": "address: 10.0.0.3",  # as `Host bob` says
}
BEHIND = "192.168.70.0/24"
FAILED = 1  # exit status


def write(world: Fleet, keys: dict[str, str], routes: str = "") -> Path:
    """The topology of the test; bob has the subnets `routes` behind him."""
    rest = PLACES | {"bob": f"{PLACES['bob']}, routes: [{routes}]"}
    lines = [f"  {name}: {{{rest[name]}, public_key: {key}}}" for name, key in keys.items()]
    file = world.folder / "office.yaml"
    file.write_text("\n".join(["name: office", "network: {subnet: 10.0.0.0/24}", "nodes:", *lines, ""]))
    return file


def changed(said: str) -> dict[str, int]:
    """How many tasks have changed something on each machine, as Ansible sums it up."""
    return {name: int(count) for name, count in re.findall(r"(\w+) +: ok=\d+ +changed=(\d+)", said)}


def answers(world: Fleet, name: str, target: str) -> None:
    """What `name` sends through the tunnel comes back."""
    wait_for(partial(world.at[name].reaches, target), f"{name} reaches {target} through the tunnel")


def test_a_fleet_is_brought_up_over_ssh_and_again_without_a_change(tmp_path: Path) -> None:
    with fleet(tmp_path) as world:
        keys = {name: world.at[name].key("office") for name in ADDRESSES}
        write(world, keys)
        _one_is_not_there_and_the_others_are_done(world, make_wheel(tmp_path))
        _it_comes_back_and_only_there_something_is_changed(world)
        write(world, keys, BEHIND)
        _what_would_be_changed_is_told_and_nothing_is(world)
        _what_is_in_the_way_is_told_in_the_words_of_ltk(world)


def _one_is_not_there_and_the_others_are_done(world: Fleet, wheel: Path) -> None:
    """bob's cable is out. alice has no ltk, and gets it from the wheel alone."""
    world.cut("bob", "down")
    said = world.ltk("apply", "office.yaml", "--hosts", "--package", wheel.name, status=FAILED)
    assert "error: applying office to its hosts: bob could not be reached\n" in said
    installed = world.at["alice"].run("/opt/ltk/bin/python", "-I", "-c", "import ltk; print(ltk.__file__)")
    assert installed.startswith("/opt/ltk/lib"), "it is not the one of the wheel"
    assert "Network is unreachable" in re.findall(r"fatal: \[bob\]: UNREACHABLE! => .*", said)[0]
    answers(world, "alice", "10.0.0.1")
    assert not world.at["bob"].daemons()


def _it_comes_back_and_only_there_something_is_changed(world: Fleet) -> None:
    """Ansible counts, and ltk's JSON says the same; nobody's daemon is another one."""
    world.cut("bob", "up")
    daemons = {name: world.at[name].daemons() for name in ("hub", "alice")}
    said = world.ltk("apply", "office.yaml", "--hosts", "-o", "json")
    assert changed(said) == {"hub": 0, "alice": 0, "bob": 3}
    told = json.loads(said[said.rindex("\n{\n") :])
    assert told == {
        "version": 1,
        "topology": "office",
        "hosts": ["hub", "alice", "bob"],
        "changed": ["bob"],
    }
    for target in ("10.0.0.1", "10.0.0.2"):
        answers(world, "bob", target)
    assert {name: world.at[name].daemons() for name in daemons} == daemons


def _what_would_be_changed_is_told_and_nothing_is(world: Fleet) -> None:
    """Ansible's check mode, on the folder that `ltk render` writes."""
    before = {name: world.at[name].state() for name in ADDRESSES}
    world.ltk("render", "office.yaml", "-o", "ansible", "--to", "fleet")
    words = ("-i", "fleet/inventory.yaml", "fleet/site.yaml", "--check", "--limit", "alice")
    said = world.run("ansible-playbook", *words)
    assert changed(said) == {"alice": 2}
    assert f"+ route {BEHIND} dev ltk-office" in said
    assert {name: world.at[name].state() for name in ADDRESSES} == before


def _what_is_in_the_way_is_told_in_the_words_of_ltk(world: Fleet) -> None:
    """alice has a route of her own there; hub is not meant, and stays what it is."""
    world.at["alice"].network(f"route add {BEHIND} dev eth0 metric 600")
    world.at["bob"].network("address add 192.168.70.1/24 dev lo")
    said = world.ltk("apply", "office.yaml", "--hosts", "--only", "alice,bob", status=FAILED)
    assert "error: applying office to its hosts: alice failed\n" in said
    (fatal,) = re.findall(r"fatal: \[alice\]: FAILED! => .*", said)
    assert f"route {BEHIND} dev eth0" in fatal
    assert "was made by somebody else" in fatal
    assert changed(said) == {"alice": 1, "bob": 2}
    assert BEHIND not in world.at["hub"].run("ip", "route", "show", "dev", "ltk-office")
