"""A real host that systemd runs: its own systemd, and ltk's unit under it as `ltk apply` has installed it."""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from harness import wait_for
from real_machines import Machine, started
from systemd_machines import SystemdMachine, why_not
from test_machines import KEPT, PUBLIC, connected, held_by, kernel_of, keys_of

UNIT = "ltk@trio.service"
HUB = "10.9.0.1"
METRICS = "127.0.0.1:9151"
SCRAPE = (
    f"import urllib.request as u; print(u.urlopen('http://{METRICS}/metrics', timeout=20).read().decode())"
)

SQUAT = "import socket, time; s = socket.socket(type=2); s.bind(('', 443)); time.sleep(600)"
DEVICE = ("c", "10", "1")  # of a mouse (Linux allocated devices): no daemon's business, be there one or not
REFUSED = {  # what a process of the unit's may not do, and what it hears
    "touch /etc/systemd/system/of-the-daemon": "Read-only file system",
    "touch /var/lib/ltk/trio/of-the-daemon": "Read-only file system",
    "touch /run/of-the-daemon": "Read-only file system",
    "touch /var/log/of-the-daemon": "Read-only file system",
    "ls {temporary}": "No such file or directory",
    "head -c1 /run/ltk/trio/device": "Operation not permitted",
    "head -c1 /dev/kmsg": "Permission denied",
    "echo 1 > /proc/sys/net/ipv4/ip_forward": "Read-only file system",
    "mount -t tmpfs tmpfs /mnt": "permission denied",
}


def document(keys: dict[str, str], psk: Path, alice: str = "") -> str:
    """hub is found by its name; `alice`: more of the node's keys."""
    return f"""\
name: trio
network: {{subnet: 10.9.0.0/24, psk: {{file: {psk}}}}}
nodes:
  hub: {{role: server, address: {HUB}, endpoint: "hub.example:51820", public_key: {keys["hub"]}}}
  alice: {{address: 10.9.0.2, public_key: {keys["alice"]}{alice}}}
"""


@contextmanager
def booted() -> Iterator[tuple[SystemdMachine, Machine]]:
    """alice, which runs systemd, and the hub, which does not; a name server between them knows the hub."""
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with connected("core", "hub", "alice", alice=SystemdMachine) as world:
        alice = world["alice"]
        assert isinstance(alice, SystemdMachine)
        server = [sys.executable, str(Path(__file__).with_name("name_server.py")), PUBLIC["hub"]]
        names = started(world["core"].command(*server))
        try:
            yield alice, world["hub"]
        finally:
            names.kill()
            names.wait(10)


@dataclass(frozen=True, slots=True)
class Pair:
    """alice and the hub, and what is written of them; `psk`: the file of their pre-shared key,
    `before`: what alice was before anything of it."""

    alice: SystemdMachine
    hub: Machine
    keys: dict[str, str]
    psk: Path
    file: Path
    before: dict[str, str]

    def write(self, alice: str = "") -> None:
        """Write the file; `alice`: more of that node's keys."""
        self.file.write_text(document(self.keys, self.psk, alice))

    def come_up(self) -> None:
        """Both are applied, and reach each other."""
        self.hub.apply(self.file)
        self.alice.apply(self.file)
        wait_for(partial(self.alice.reaches, HUB), "alice reaches the hub, of which it knows the name")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """The two, with a file and nothing up."""
    with booted() as (alice, hub):
        before = alice.state()
        psk = tmp_path / "psk.key"
        psk.write_text(base64.b64encode(os.urandom(32)).decode())
        psk.chmod(0o600)
        keys = keys_of({"alice": alice, "hub": hub}, ("alice", "hub"))
        found = Pair(alice, hub, keys, psk, tmp_path / "trio.yaml", before)
        found.write()
        yield found


def test_the_unit_keeps_a_host_up_whatever_happens_to_it(pair: Pair) -> None:
    alice = pair.alice
    pair.come_up()
    assert not alice.runs("ltk.supervise"), "two keep the daemon up"
    _has_what_it_needs_and_no_more(alice)
    _takes_a_new_file_as_it_runs(pair)
    _comes_back(alice)
    _says_no_secret(pair)
    assert "error: applying" not in alice.journal(UNIT), "the apply that had it started was in its own way"
    up = alice.state()

    alice.halt()
    alice.boot()
    wait_for(partial(alice.reaches, HUB), "the unit alone brings the host up after a boot")
    assert json.loads(alice.ltk("status", "trio", "-o", "json"))["drift"] == []
    assert kernel_of(alice.state()) == kernel_of(up)
    assert alice.apply(pair.file)["changes"] == []
    _says_no_secret(pair)

    alice.ltk("destroy", "trio")
    assert alice.unit(UNIT)["LoadState"] == "not-found"
    assert alice.daemons() == []
    assert alice.state() == pair.before


def _has_what_it_needs_and_no_more(alice: SystemdMachine) -> None:
    unit = alice.unit(UNIT)
    assert (unit["ActiveState"], unit["SubState"], unit["NRestarts"]) == ("active", "running", "0")
    assert unit["UnitFileState"] == "enabled"
    assert alice.daemons() == [int(unit["MainPID"])]
    assert held_by(alice, int(unit["MainPID"])) == KEPT
    alice.run("mknod", "/run/ltk/trio/device", *DEVICE)
    with tempfile.NamedTemporaryFile(dir="/tmp") as temporary:
        for script, word in REFUSED.items():
            said = alice.try_as(UNIT, script.format(temporary=temporary.name))
            assert word in said, script
    alice.run("rm", "/run/ltk/trio/device")
    assert alice.try_as(UNIT, "touch /run/ltk/trio/x && rm /run/ltk/trio/x && : <> /dev/net/tun") == ""


def _takes_a_new_file_as_it_runs(pair: Pair) -> None:
    """Over the control socket: a port that only a privileged process can have, and a page of its metrics."""
    alice, daemon = pair.alice, pair.alice.unit(UNIT)["MainPID"]
    assert alice.apply(pair.file)["writes"] == {"netlink": 0, "nft": 0, "sysctl": 0}
    pair.write(f', listen: 443, metrics: "{METRICS}"')
    assert [each["action"] for each in alice.apply(pair.file)["changes"]] == ["update"]
    assert alice.unit(UNIT)["MainPID"] == daemon, "a new file is no reason to start again"
    wait_for(partial(alice.reaches, HUB), "the hub is reached from the new port")
    assert ":443 " in alice.run("ss", "-Huln")
    assert "ltk_path_packets_total{" in alice.run(sys.executable, "-c", SCRAPE)


def _comes_back(alice: SystemdMachine) -> None:
    """Killed, and when its device is deleted."""
    for command in ("kill -9 {}", "ip link delete ltk-trio"):
        daemon = alice.unit(UNIT)["MainPID"]
        alice.run("sh", "-c", command.format(daemon))
        gone = ("0", daemon)
        wait_for(partial(_is_another, alice, gone), f"the daemon is started again after {command}")
        wait_for(partial(alice.reaches, HUB), f"the hub is reached again after {command}")
    assert alice.unit(UNIT)["NRestarts"] == "2"


def _is_another(alice: SystemdMachine, gone: tuple[str, ...]) -> bool:
    unit = alice.unit(UNIT)
    return unit["ActiveState"] == "active" and unit["MainPID"] not in gone


def _says_no_secret(pair: Pair) -> None:
    journal = pair.alice.journal(UNIT)
    assert "alice is ready" in journal
    key = pair.alice.run("cat", "/var/lib/ltk/trio/alice.key").strip()
    for secret in (key, pair.psk.read_text()):
        for form in (secret, base64.b64decode(secret).hex()):
            assert form not in journal


def test_a_daemon_that_does_not_come_up_is_no_host_that_is_up(pair: Pair) -> None:
    alice = pair.alice
    before = alice.state()
    pair.write(", listen: 443")
    alice.run("systemd-run", "--quiet", "--unit", "squatter", sys.executable, "-c", SQUAT)
    wait_for(lambda: ":443 " in alice.run("ss", "-Huln"), "somebody else has the port")
    said = alice.run("sh", "-c", f"{sys.executable} -m ltk apply {pair.file} 2>&1; echo status $?")
    assert "starting ltk@trio.service: opening UDP port 443: it is in use; all is as it was before" in said
    assert "journalctl -u ltk@trio.service" in said
    assert said.endswith("status 5\n")
    assert alice.unit(UNIT)["LoadState"] == "not-found"
    assert alice.state() == before
    alice.run("systemctl", "stop", "squatter")
    pair.come_up()
    assert ":443 " in alice.run("ss", "-Huln")
