"""Daemons and their supervisor on real TUN devices: two nodes, alice and bob, on one wire.

ltkn-alice  10.77.0.1  ltk0 | wire 192.0.2.1 ---- 192.0.2.2 wire | ltk0  10.77.0.2  ltkn-bob
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from harness import supervisors

from ltk.errors import LtkError
from ltk.kernel import paths
from ltk.node.control import ask
from ltk.supervise import client

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and TUN devices need root")

TOPOLOGY = "ltkn-loop"
NAMES = ("alice", "bob")
NUMBER = {"alice": 1, "bob": 2}
PORT = 51820
IDLE = 2.0  # seconds
TICKS = os.sysconf("SC_CLK_TCK")  # clock ticks in a second, of /proc/PID/stat


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


def namespace(name: str) -> str:
    return f"ltkn-{name}"


def eventually(condition: Callable[[], object], awaited: str, deadline: float = 10.0) -> None:
    """Look again and again until `condition` holds."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"waited {deadline:g} s in vain for {awaited}"
        select.select([], [], [], 0.01)


def ends_within(pid: int, seconds: float) -> bool:
    """Wait until the process has ended, or as long as that."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with contextlib.closing(select.epoll()) as epoll:
        epoll.register(pidfd, select.EPOLLIN)
        ended = bool(epoll.poll(seconds))
    os.close(pidfd)
    return ended


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def make_device(name: str) -> None:
    where = namespace(name)
    ip("-n", where, "tuntap", "add", "ltk0", "mode", "tun")
    ip("-n", where, "address", "add", f"10.77.0.{NUMBER[name]}/24", "dev", "ltk0")
    ip("-n", where, "link", "set", "ltk0", "mtu", "1380", "up")


class Network:
    """Two namespaces on a wire, with devices, keys and configurations, and a supervisor for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        keys = {name: X25519PrivateKey.generate() for name in NAMES}
        self.public = {
            name: base64.b64encode(key.public_key().public_bytes_raw()).decode() for name, key in keys.items()
        }
        for name, key in keys.items():
            file = folder / f"{name}.key"
            file.write_bytes(base64.b64encode(key.private_bytes_raw()))
            file.chmod(0o600)

    def config(self, name: str, **changes: object) -> dict[str, Any]:
        other = "bob" if name == "alice" else "alice"
        return {
            "version": 1,
            "topology": TOPOLOGY,
            "node": name,
            "role": "client",
            "device": "ltk0",
            "mtu": 1380,
            "listen": PORT,
            "isolation": False,
            "private_key_file": str(self.folder / f"{name}.key"),
            "addresses": [f"10.77.0.{NUMBER[name]}/24"],
            "control": str(paths.control_socket(TOPOLOGY, name)),
            "metrics": None,
            "mark": 0,
            "transport": "auto",
            "peers": [
                {
                    "name": other,
                    "role": "client",
                    "public_key": self.public[other],
                    "preshared_key_file": None,
                    "endpoint": f"192.0.2.{NUMBER[other]}:{PORT}",
                    "allowed_ips": [f"10.77.0.{NUMBER[other]}/32"],
                    "keepalive": 0,
                    "p2p": "on-demand",
                    "hard_nat": "birthday",
                    "path": "auto",
                }
            ],
            **changes,
        }

    def write_config(self, name: str, **changes: object) -> Path:
        file = paths.node_config(TOPOLOGY, name)
        file.write_text(json.dumps(self.config(name, **changes)))
        return file

    def start(self, name: str, **changes: object) -> int:
        return client.start_node(
            TOPOLOGY,
            name,
            namespace=namespace(name),
            config=self.write_config(name, **changes),
            log=paths.node_log(TOPOLOGY, name),
        )

    def ask(self, name: str, do: str, **more: object) -> dict[str, Any]:
        return ask(paths.control_socket(TOPOLOGY, name), {"do": do, **more})

    def device_state(self, name: str) -> str:
        return str(self.ask(name, "status")["device"]["state"])

    def handshakes(self, name: str) -> int:
        return paths.node_log(TOPOLOGY, name).read_text().count("handshake completed")

    def lost(self, count: int = 10) -> int:
        """How many of `count` pings from alice to bob were not answered."""
        done = subprocess.run(
            f"ip netns exec {namespace('alice')} ping -n -q -i 0.02 -W 1 -c {count} 10.77.0.2".split(),
            capture_output=True,
            text=True,
            timeout=count + 10,
        )
        received = int(done.stdout.split(" packets transmitted, ")[1].split()[0])
        return count - received

    def supervisor(self) -> int:
        for line in reversed(paths.supervisor_log(TOPOLOGY).read_text().splitlines()):
            if "runs as process" in line and "supervisor" in line:
                return int(line.split()[-1])
        raise AssertionError("the supervisor has not said that it runs")


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    for name in NAMES:
        ip("netns", "add", namespace(name))
    try:
        ip(
            *("link", "add", "wire", "netns", namespace("alice"), "type", "veth"),
            *("peer", "name", "wire", "netns", namespace("bob")),
        )
        for name in NAMES:
            ip("-n", namespace(name), "address", "add", f"192.0.2.{NUMBER[name]}/24", "dev", "wire")
            ip("-n", namespace(name), "link", "set", "wire", "up")
            ip("-n", namespace(name), "link", "set", "lo", "up")
            make_device(name)
        client.ensure_running(TOPOLOGY)
        yield Network(tmp_path)
        client.shutdown(TOPOLOGY)
    finally:
        shutil.rmtree(paths.run_folder(TOPOLOGY), ignore_errors=True)
        for name in NAMES:
            ip("netns", "delete", namespace(name))


@pytest.fixture
def pids(network: Network) -> dict[str, int]:
    """Both daemons, up and with a session."""
    pids = {name: network.start(name) for name in NAMES}
    assert network.lost(1) == 0
    return pids


def test_packets_pass_and_idling_costs_nothing(network: Network, pids: dict[str, int]) -> None:
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    assert not ends_within(pids["alice"], IDLE), "the daemon ended while idle"
    for name, pid in pids.items():
        assert cpu_seconds(pid) - before[name] <= 0.02 * IDLE, f"{name} is not idle"
    assert network.lost(20) == 0


def test_the_status_tells_what_the_node_does(network: Network, pids: dict[str, int]) -> None:
    told = network.ask("alice", "status")
    assert (told["version"], told["node"], told["role"], told["state"]) == (1, "alice", "client", "running")
    assert told["device"] == {"name": "ltk0", "state": "attached"}
    assert (told["listen"], told["pid"]) == (PORT, pids["alice"])
    (bob,) = told["peers"]
    assert (bob["name"], bob["public_key"]) == ("bob", network.public["bob"])
    assert (bob["endpoint"], bob["path"]) == (f"192.0.2.2:{PORT}", "direct")
    assert bob["reason"].startswith("direct: probe answered ")
    assert bob["tx_packets"] > 0 < bob["rx_packets"]
    in_force = network.ask("alice", "config")
    assert in_force["config"] == network.config("alice")
    assert in_force["public_key"] == network.public["alice"]
    assert in_force["psk_ids"] == {"bob": None}
    assert (network.folder / "alice.key").read_text() not in json.dumps([told, in_force])


def test_who_knows_the_configuration_is_not_told_it_again(network: Network, pids: dict[str, int]) -> None:
    in_force = network.ask("alice", "config")
    known = {"unless": in_force["digest"]}
    told = network.ask("alice", "config", **known)
    assert told == {key: in_force[key] for key in ("version", "pid", "device_state", "digest")}
    assert network.ask("alice", "config", unless="another") == in_force
    config = network.config("alice")
    config["peers"][0]["keepalive"] += 1
    network.ask("alice", "configure", config=config)
    assert network.ask("alice", "config", **known)["config"] == config


def test_nobody_else_may_use_the_control_socket(network: Network, pids: dict[str, int]) -> None:
    for socket_file in (paths.control_socket(TOPOLOGY, "alice"), paths.supervisor_socket(TOPOLOGY)):
        assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(paths.run_folder(TOPOLOGY).stat().st_mode) == 0o700


def test_a_device_that_goes_down_and_up_again_carries_packets_again(
    network: Network, pids: dict[str, int]
) -> None:
    ip("-n", namespace("bob"), "link", "set", "ltk0", "down")
    spent = cpu_seconds(pids["bob"])
    assert network.lost(3) == 3
    assert cpu_seconds(pids["bob"]) - spent < 0.5
    assert network.ask("bob", "status")["drops"].get("device-down", 0) >= 3
    ip("-n", namespace("bob"), "link", "set", "ltk0", "up")
    assert network.lost() == 0


def test_a_deleted_device_is_noticed_and_taken_up_again_with_the_sessions_kept(
    network: Network, pids: dict[str, int]
) -> None:
    before = network.handshakes("bob")
    ip("-n", namespace("bob"), "link", "delete", "ltk0")
    eventually(lambda: network.device_state("bob") == "gone", "bob to notice that its device has gone")
    log = paths.supervisor_log(TOPOLOGY)
    eventually(lambda: "bob: its device has gone, repairing" in log.read_text(), "the repair to be asked for")
    spent = cpu_seconds(pids["bob"])
    assert network.lost(3) == 3
    assert cpu_seconds(pids["bob"]) - spent < 0.5
    assert network.ask("bob", "status")["drops"].get("device-gone", 0) >= 3
    with pytest.raises(LtkError, match="attaching to the device ltk0: it does not exist"):
        network.ask("bob", "configure", config=network.config("bob"))
    make_device("bob")
    network.ask("bob", "configure", config=network.config("bob"))
    assert network.device_state("bob") == "attached"
    assert network.lost() == 0
    assert network.handshakes("bob") == before


def test_configuring_changes_what_it_says_and_disturbs_nothing_else(
    network: Network, pids: dict[str, int]
) -> None:
    before = network.handshakes("alice")
    config = network.config("alice")
    stranger = {
        **config["peers"][0],
        "name": "carol",
        "public_key": base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode(),
        "endpoint": None,
        "allowed_ips": ["10.77.0.3/32"],
    }
    config["peers"].append(stranger)
    network.ask("alice", "configure", config=config)
    assert [peer["name"] for peer in network.ask("alice", "status")["peers"]] == ["bob", "carol"]
    config["listen"] = PORT + 1
    network.ask("alice", "configure", config=config)
    assert network.ask("alice", "status")["listen"] == PORT + 1
    assert network.lost() == 0
    assert network.handshakes("alice") == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mtu": "big"}, "mtu: should be a whole number"),
        ({"device": "ltk7"}, "attaching to the device ltk7: it does not exist"),
        ({"private_key_file": "/nonexistent"}, "reading the key file /nonexistent"),
        ({"node": "carol"}, "this is alice of ltkn-loop"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_and_nothing_changes(
    network: Network, pids: dict[str, int], change: dict[str, object], message: str
) -> None:
    before = network.handshakes("alice")
    with pytest.raises(LtkError, match=message):
        network.ask("alice", "configure", config=network.config("alice", **change))
    assert network.ask("alice", "config")["config"] == network.config("alice")
    assert network.lost() == 0
    assert network.handshakes("alice") == before


def test_stopping_is_prompt_and_leaves_nothing(network: Network, pids: dict[str, int]) -> None:
    begin = time.monotonic()
    client.stop_node(TOPOLOGY, "alice")
    assert time.monotonic() - begin < 1.0
    assert not Path(f"/proc/{pids['alice']}").exists()
    assert not paths.control_socket(TOPOLOGY, "alice").exists()
    assert [node.name for node in client.nodes(TOPOLOGY)] == ["bob"]
    assert network.start("alice") != pids["alice"]
    assert network.lost() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_daemon_that_ends_unasked_is_started_again(
    network: Network, pids: dict[str, int], number: signal.Signals
) -> None:
    os.kill(pids["alice"], number)

    def runs_again() -> bool:
        (alice, _) = client.nodes(TOPOLOGY)
        return alice.state == "running" and alice.pid != pids["alice"] and alice.restarts == 1

    eventually(runs_again, "alice to run again")
    eventually(lambda: network.lost(1) == 0, "packets to pass again")
    assert client.nodes(TOPOLOGY)[1].pid == pids["bob"]


def test_daemons_go_with_a_supervisor_that_is_killed(network: Network, pids: dict[str, int]) -> None:
    supervisor = network.supervisor()
    assert client.is_running(TOPOLOGY)
    os.kill(supervisor, signal.SIGKILL)
    for pid in (supervisor, *pids.values()):
        assert ends_within(pid, 2.0), f"process {pid} outlives the supervisor"
    eventually(lambda: not client.is_running(TOPOLOGY), "the lock to be free")
    assert not paths.control_socket(TOPOLOGY, "alice").exists()
    client.ensure_running(TOPOLOGY)
    assert client.nodes(TOPOLOGY) == ()
    for name in NAMES:
        network.start(name)
    assert network.lost() == 0


def test_shutting_down_ends_everything_and_is_final(network: Network, pids: dict[str, int]) -> None:
    client.shutdown(TOPOLOGY)
    assert not client.is_running(TOPOLOGY)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.values())
    left = sorted(file.name for file in paths.run_folder(TOPOLOGY).iterdir())
    assert left == ["alice.json", "alice.log", "bob.json", "bob.log", "supervisor.log"]
    client.shutdown(TOPOLOGY)


def test_one_supervisor_is_started_however_often_it_is_asked_for(network: Network) -> None:
    first = network.supervisor()
    client.ensure_running(TOPOLOGY)
    assert network.supervisor() == first
    second = subprocess.run(
        [sys.executable, "-P", "-m", "ltk.supervise", TOPOLOGY], capture_output=True, timeout=10
    )
    assert second.returncode == 0  # it lets its caller go at once, and says in its log why it ended
    log = paths.supervisor_log(TOPOLOGY)
    eventually(lambda: "another process does" in log.read_text(), "the second supervisor to be refused")
    eventually(lambda: len(supervisors().splitlines()) == 1, "the second supervisor to end")
    assert client.nodes(TOPOLOGY) == ()


def test_a_daemon_that_cannot_start_says_why_and_is_not_kept(network: Network) -> None:
    with pytest.raises(LtkError, match="attaching to the device ltk9: it does not exist in this namespace"):
        network.start("alice", device="ltk9")
    assert client.nodes(TOPOLOGY) == ()
    network.start("alice")


def test_starting_what_runs_leaves_it_alone(network: Network, pids: dict[str, int]) -> None:
    assert network.start("alice") == pids["alice"]
    with pytest.raises(LtkError, match="kept up from another configuration"):
        client.start_node(
            TOPOLOGY,
            "alice",
            namespace=namespace("bob"),
            config=paths.node_config(TOPOLOGY, "alice"),
            log=paths.node_log(TOPOLOGY, "alice"),
        )


def test_a_device_that_is_taken_is_refused(network: Network, pids: dict[str, int]) -> None:
    client.stop_node(TOPOLOGY, "bob")
    with pytest.raises(LtkError, match="another process is attached to it"):
        client.start_node(
            TOPOLOGY,
            "bob",
            namespace=namespace("alice"),
            config=network.write_config("bob"),
            log=paths.node_log(TOPOLOGY, "bob"),
        )


def test_a_daemon_holds_nothing_of_its_supervisor(network: Network, pids: dict[str, int]) -> None:
    def inodes(pid: int) -> set[str]:
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        return {link for link in links if link.startswith("socket:") or link.endswith("supervisor.lock")}

    supervisor = inodes(network.supervisor())
    assert not supervisor & inodes(pids["alice"])
    assert not supervisor & inodes(pids["bob"])
    assert not inodes(pids["alice"]) & inodes(pids["bob"])


def test_a_daemon_in_the_foreground_serves_a_service_manager(network: Network, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        daemon = subprocess.Popen(
            [
                *("ip", "netns", "exec", namespace("alice")),
                *(sys.executable, "-P", "-m", "ltk", "node", str(network.write_config("alice"))),
            ],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert manager.recv(64) == b"READY=1"
            ip("-n", namespace("alice"), "link", "delete", "ltk0")
            assert manager.recv(64) == b"X_LTK_DEVICE=gone"
            daemon.terminate()
            assert manager.recv(64) == b"STOPPING=1"
            assert ends_within(daemon.pid, 1.0), "the daemon outlives SIGTERM by more than a second"
        finally:
            daemon.kill()
            _, said = daemon.communicate()
    assert daemon.returncode == 0, said
    assert not paths.control_socket(TOPOLOGY, "alice").exists()
