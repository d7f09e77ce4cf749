"""Real hosts: machines that share nothing but cables, brought up by `ltk apply --node` and nothing else."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from harness import wait_for
from real_machines import Machine, machines

KEPT = (1 << 10 | 1 << 12, 1)  # CAP_NET_BIND_SERVICE and CAP_NET_ADMIN, and no new privileges
WEB = "198.51.100.80"  # a server on the internet, outside of the tunnel
NAMES = ("hub", "gate", "box", "alice")
THREE = NAMES[:3]
PLACES = ("core", "home", "office", *NAMES, "printer")

PUBLIC = {
    "hub": "203.0.113.2",
    "home": "203.0.113.10",
    "office": "203.0.113.20",
    "alice": "203.0.113.30",
}

CORE = """
table inet test {
  counter web_from_gate {}
  counter web_from_box {}
  counter web_from_alice {}
  chain carried { type filter hook prerouting priority 0;
    ip saddr 203.0.113.10 ip daddr 198.51.100.80 counter name web_from_gate
    ip saddr 203.0.113.20 ip daddr 198.51.100.80 counter name web_from_box
    ip saddr 203.0.113.30 ip daddr 198.51.100.80 counter name web_from_alice
  }
}
"""
NAT = """
table inet test {
  chain source { type nat hook postrouting priority 100; oifname "wan" masquerade; }
}
"""


def document(keys: dict[str, str], *more: str, names: tuple[str, ...] = NAMES) -> str:
    """The topology of the test: gate is the way to everywhere, box has a LAN behind it."""
    rest = {
        "hub": 'role: server, address: 10.9.0.1, endpoint: "203.0.113.2:51820"',
        "gate": "address: 10.9.0.3, routes: [0.0.0.0/0]",
        "box": "address: 10.9.0.4, routes: [192.168.50.0/24]",
        "alice": "address: 10.9.0.2",
    }
    lines = [f"  {name}: {{{rest[name]}, public_key: {keys[name]}}}" for name in names]
    return "\n".join(["name: trio", "network: {subnet: 10.9.0.0/24}", "nodes:", *lines, *more, ""])


def cabled(at: dict[str, Machine]) -> None:
    """The internet, two NATs on it, and who stands where."""
    core = at["core"]
    core.network("sysctl -qw net.ipv4.ip_forward=1", f"address add {WEB}/32 dev lo")
    core.load(CORE)
    for name, address in PUBLIC.items():
        if name not in at:
            continue
        own = "wan" if name in ("home", "office") else "eth0"
        core.wire(name, at[name], own)
        core.network(f"route add {address} dev {name}", f"address add 203.0.113.1/32 dev {name}")
        at[name].network(
            f"address add {address}/32 dev {own}",
            f"route add 203.0.113.1 dev {own}",
            f"route add default via 203.0.113.1 dev {own}",
        )
    for name, router in (("gate", "home"), ("box", "office")):
        if name not in at:
            continue
        at[router].wire("lan", at[name], "eth0")
        at[router].network("sysctl -qw net.ipv4.ip_forward=1", "address add 192.168.1.1/24 dev lan")
        at[router].load(NAT)
        at[name].network("address add 192.168.1.2/24 dev eth0", "route add default via 192.168.1.1")
    if "printer" not in at:
        return
    at["box"].wire("eth1", at["printer"], "eth0")
    at["box"].network("address add 192.168.50.1/24 dev eth1")
    at["printer"].network("address add 192.168.50.7/24 dev eth0", "route add default via 192.168.50.1")


@contextmanager
def connected(*places: str, **kinds: type[Machine]) -> Iterator[dict[str, Machine]]:
    """Machines on their cables, and nothing of ltk's; `kinds` as with `machines`."""
    with machines(places, **kinds) as found:
        cabled(found)
        yield found


def keys_of(at: dict[str, Machine], names: Iterable[str]) -> dict[str, str]:
    """The public keys of the keys that the machines have made, each for itself."""
    return {name: at[name].key("trio") for name in names}


def test_machines_that_apply_one_file_are_one_network(tmp_path: Path) -> None:
    with connected(*PLACES) as world:
        before = {name: world[name].state() for name in NAMES}
        file = tmp_path / "trio.yaml"
        keys = keys_of(world, NAMES)
        file.write_text(document(keys, names=THREE))
        _come_up(world, file)
        _go_out_by_the_exit(world)
        file.write_text(document(keys))
        _are_joined_without_a_loss(world, file)
        for name in reversed(NAMES):
            world[name].ltk("destroy", "trio")
        assert {name: world[name].state() for name in NAMES} == before, "a machine is not what it was"


def _come_up(world: dict[str, Machine], file: Path) -> None:
    """Each by one command; a second one, which knows by the host's name which node it is, does nothing."""
    for name in THREE:
        world[name].apply(file, "--node", name)
    ways = [("gate", "10.9.0.1"), ("box", "10.9.0.1"), ("box", "10.9.0.3"), ("hub", "192.168.50.7")]
    for name, target in ways:
        wait_for(partial(world[name].reaches, target), f"{name} reaches {target}")
    again = world["gate"].apply(file)
    assert again["node"] == "gate"
    assert (again["changes"], again["writes"]) == ([], {"netlink": 0, "nft": 0, "sysctl": 0})


def _go_out_by_the_exit(world: dict[str, Machine]) -> None:
    """The internet, by its own counters, sees gate's router when box asks; the server goes by itself."""
    core, box = world["core"], world["box"]
    before = core.counter("web_from_gate")
    assert box.ping(WEB, count=5) == 5, "the internet is not reached through the exit node"
    assert core.counter("web_from_gate") >= before + 5
    assert core.counter("web_from_box") == 0, "what is for the internet went past the exit node"
    assert "via 203.0.113.1" in world["hub"].run("ip", "route", "get", WEB)


def _are_joined_without_a_loss(world: dict[str, Machine], file: Path) -> None:
    """alice is new in the file, which each host applies in its turn while box pings gate."""
    box = world["box"]
    daemons = {name: world[name].daemons() for name in THREE}
    age = box.peers("trio")["gate"]["handshake_age_s"]
    answered: list[int] = []
    pinging = threading.Thread(target=lambda: answered.append(box.ping("10.9.0.3", count=80)))
    pinging.start()
    for name in NAMES:
        world[name].apply(file, "--node", name)
    for target in ("10.9.0.4", WEB):
        wait_for(partial(world["alice"].reaches, target), f"alice reaches {target}")
    pinging.join(60)
    assert answered == [80], "a change of the file cost packets between others"
    assert world["core"].counter("web_from_alice") == 0
    assert {name: world[name].daemons() for name in THREE} == daemons
    assert box.peers("trio")["gate"]["handshake_age_s"] > age, "the session was begun anew"


def test_a_host_is_repaired_by_its_supervisor_and_after_a_boot_by_one_command(tmp_path: Path) -> None:
    with connected("core", "hub", "alice") as world:
        alice, file = pair_up(world, tmp_path)
        (daemon,) = alice.daemons()
        alice.network("link delete ltk-trio")
        wait_for(partial(alice.reaches, "10.9.0.1"), "a deleted device is made again")
        assert alice.daemons() == [daemon], "the daemon ended with its device"
        alice.run("sh", "-c", f"kill -9 {daemon}")
        wait_for(partial(alice.reaches, "10.9.0.1"), "a killed daemon is started again")
        up = alice.state()

        alice.halt()
        alice.boot()
        assert alice.daemons() == []
        alice.ltk("gc")  # what this machine is a node of is no leftover
        again = json.loads(alice.ltk("apply", "trio", "-o", "json"))
        assert again["node"] == "alice"
        wait_for(partial(alice.reaches, "10.9.0.1"), "the tunnel is there again after a boot")
        assert kernel_of(alice.state()) == kernel_of(up)
        assert alice.apply(file)["changes"] == []


def test_where_systemd_runs_its_unit_brings_a_host_up_again(tmp_path: Path) -> None:
    with connected("core", "hub", "alice") as world:
        alice = world["alice"]
        before = alice.state()
        alice.play_systemd()
        alice, _ = pair_up(world, tmp_path)
        assert not alice.runs("ltk.supervise"), "two keep the daemon up"
        (daemon,) = alice.daemons()
        assert held_by(alice, daemon) == KEPT

        # what Restart=always does when the daemon has ended for its device
        alice.network("link delete ltk-trio")
        wait_for(lambda: not alice.daemons(), "the daemon ends for its device, so that the unit starts again")
        alice.run("systemctl", "restart", "ltk@trio.service")
        wait_for(partial(alice.reaches, "10.9.0.1"), "the unit makes the device again")

        alice.halt()
        alice.boot()
        alice.play_systemd()
        alice.run("systemctl", "default")
        wait_for(partial(alice.reaches, "10.9.0.1"), "the unit brings the host up after a boot")
        assert json.loads(alice.ltk("status", "trio", "-o", "json"))["drift"] == []
        alice.ltk("destroy", "trio")
        assert alice.daemons() == []
        assert alice.state() == before


def pair_up(world: dict[str, Machine], tmp_path: Path) -> tuple[Machine, Path]:
    """hub and alice are up and reach each other; returns alice and the file."""
    file = tmp_path / "trio.yaml"
    file.write_text(document(keys_of(world, ("hub", "alice")), names=("hub", "alice")))
    for name in ("hub", "alice"):
        world[name].apply(file)
    wait_for(partial(world["alice"].reaches, "10.9.0.1"), "alice reaches the hub")
    return world["alice"], file


def kernel_of(state: dict[str, str]) -> dict[str, str]:
    """Of a machine's state what stays the same when it is made anew: neither numbers nor files."""
    kept = {name: state[name] for name in ("routes", "rules", "nftables", "sysctls")}
    return kept | {"addresses": "\n".join(re.findall(r"\w+ +inet .*", state["addresses"]))}


def held_by(machine: Machine, process: int) -> tuple[int, int]:
    """The capabilities that are in force in a process, and whether it can get no others."""
    status = machine.run("cat", f"/proc/{process}/status")
    found = dict(re.findall(r"^(\w+):\s+(\w+)", status, re.MULTILINE))
    return int(found["CapEff"], 16), int(found["NoNewPrivs"])
