"""Bad input, and machines that lack something: a clear error, its exit status, and nothing changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import machine_state

from ltk.reconcile.apply import locked

KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
OTHER_KEY = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
CLEAR_SECRET = "hunter2-hunter2-hunter2"
FILE = "bad.yaml"
INVALID, IN_THE_WAY, MISSING, BUSY = 3, 4, 6, 7


def lab(
    *,
    name: str = "bad",
    network: str = "subnet: 10.0.0.0/24",
    hub: str = "{role: server}",
    alice: str = "{}",
    more: str = "",
    internet: str = "203.0.113.0/24",
    cloud: str = "{hosts: [hub]}",
    home: str = "{nat: port-restricted, hosts: [alice]}",
) -> str:
    """A topology that is fine (see the last test), but for what a case puts into it."""
    return (
        f"name: {name}\nnetwork: {{{network}}}\nnodes:\n  hub: {hub}\n  alice: {alice}\n{more}"
        f"lab:\n  internet: {internet}\n  sites:\n    cloud: {cloud}\n    home: {home}\n"
    )


def real(*, hub: str = f"endpoint: 'hub.example:9000', public_key: {KEY}", alice: str = OTHER_KEY) -> str:
    """A topology of real hosts."""
    return (
        f"name: bad\nnetwork: {{subnet: 10.0.0.0/24}}\nnodes:\n  hub: {{role: server, {hub}}}\n"
        f"  alice: {{public_key: {alice}}}\n"
    )


# --- circumstances: what the machine is like while ltk runs, put back afterwards ---


@contextmanager
def somebody_at_work() -> Iterator[None]:
    with locked("bad", "applying"):
        yield


@contextmanager
def a_namespace_of_somebodys() -> Iterator[None]:
    subprocess.run(["ip", "netns", "add", "ltk-bad-alice"], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", "ltk-bad-alice"], check=True)


def with_mounts(script: str) -> list[str]:
    """Run what follows where the file system has been changed, for it alone, by a shell script."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{script}; exec "$@"', "sh"]


NO_NFT = with_mounts(f"mount --bind /dev/null {shutil.which('nft', path='/usr/sbin:/sbin:/usr/bin')}")
NO_TUN = with_mounts("mount -t tmpfs none /dev/net")
NOT_ROOT = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
NO_CAPABILITIES = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]


@dataclass(frozen=True, slots=True)
class Case:
    """What is given, and what must be said about it: what is wrong, where, and what to do next."""

    name: str
    words: tuple[str, ...]
    yaml: str | bytes = lab()
    arguments: tuple[str, ...] = ("apply", FILE, "-o", "json")
    status: int = INVALID
    circumstances: Callable[[], AbstractContextManager[None]] = nullcontext
    prefix: tuple[str, ...] = ()


MALFORMED = [
    Case("not YAML", ("bad.yaml:2:1", "YAML"), "name: [bad\nnetwork: {"),
    Case("not text", ("bad.yaml:1:8", "UTF-8"), b"name: b\xff\n"),
    Case("a list", ("bad.yaml:1:1", "mapping", "name, network and nodes"), "- name\n"),
    Case("an empty file", ("bad.yaml:1:1", "empty", "name:"), ""),
    Case(
        "a key that does not exist", ("bad.yaml:2:11", "subnte", "subnet"), lab(network="subnte: 10.0.0.0/24")
    ),
    Case(
        "text for a number",
        ("bad.yaml:2:", "network.mtu", "number"),
        lab(network="subnet: 10.0.0.0/24, mtu: big"),
    ),
    Case("a number for text", ("bad.yaml:1:7", "name", "text"), lab(name="7")),
    Case("a list for a mapping", ("bad.yaml:4:", "nodes.hub", "mapping"), lab(hub="[server]")),
    Case(
        "no address",
        ("bad.yaml:4:", "nodes.hub.address", "10.0.0.999"),
        lab(hub="{role: server, address: 10.0.0.999}"),
    ),
    Case("a key twice", ("bad.yaml:6:3", "alice", "twice"), lab(more="  alice: {}\n")),
    Case("a role that does not exist", ("bad.yaml:4:", "servant", "server"), lab(hub="{role: servant}")),
]

IMPOSSIBLE = [
    Case("a LAN over the tunnel's subnet", ("bad.yaml:10:", "overlaps", "choose another"), lab(home="{nat: symmetric, lan: 10.0.0.0/16, hosts: [alice]}")),
    Case("an internet over the tunnel's subnet", ("bad.yaml:7:", "overlaps", "10.0.0.0/24"), lab(internet="10.0.0.0/8")),
    Case("a subnet without room", ("bad.yaml:2:", "10.0.0.0/30", "needed are 3", "/29"), lab(network="subnet: 10.0.0.0/30", more="  bob: {}\n", cloud="{hosts: [hub, bob]}")),
    Case("an internet without room", ("bad.yaml:7:", "203.0.113.0/30", "has room"), lab(internet="203.0.113.0/30")),
    Case("an address twice", ("bad.yaml:5:", "10.0.0.1", "hub"), lab(hub="{role: server, address: 10.0.0.1}", alice="{address: 10.0.0.1}")),
    Case("a public key twice", ("bad.yaml:5:", "public_key", "hub"), real(alice=KEY)),
    Case("an endpoint twice", ("bad.yaml:5:", "endpoint", "hub"), real(alice=f"{OTHER_KEY}, endpoint: 'hub.example:9000'")),
    Case("a name for a node and a site", ("bad.yaml:10:", "alice", "rename"), lab().replace("    home:", "    alice:")),
    Case("the name of a lab's own device", ("bad.yaml:6:3", "wan", "choose another"), lab(more="  wan: {}\n", cloud="{hosts: [hub, wan]}")),
    Case("a name too long for a folder", ("bad.yaml:1:7", "at most 24"), lab(name="b" * 25)),
    Case("a name too long for a device", ("bad.yaml:6:3", "at most 15"), lab(more=f"  {'n' * 16}: {{}}\n", cloud=f"{{hosts: [hub, {'n' * 16}]}}")),
    Case("a device's name too long", ("bad.yaml:5:", "device", "at most 15"), lab(alice=f"{{device: {'d' * 16}}}")),
    Case("a route to everywhere", ("bad.yaml:5:", "0.0.0.0/0", "cut off the underlay", "name the subnets"), lab(alice="{routes: 0.0.0.0/0}")),
    Case("a route over the internet", ("bad.yaml:5:", "203.0.113.0/24", "cut off the underlay", "lab.internet"), lab(alice="{routes: 203.0.113.0/25}")),
    Case("a route over the endpoint", ("bad.yaml:4:", "198.51.100.7", "cut off the underlay"), real(hub=f"endpoint: '198.51.100.7:9000', public_key: {KEY}, routes: 198.51.100.0/24")),
    Case("two servers", ("bad.yaml:5:", "alice is a second server"), lab(alice="{role: server}")),
    Case("no server", ("bad.yaml:3:", "no server", "role: server"), lab(hub="{}")),
    Case("a server behind a NAT", ("bad.yaml:10:", "nobody can reach the server hub", "without nat"), lab(cloud="{}", home="{nat: symmetric, hosts: [alice, hub]}")),
    Case("a server without an endpoint", ("bad.yaml:4:", "nobody can reach", "endpoint: HOST:PORT"), real(hub=f"public_key: {KEY}")),
    Case("a host that is no node", ("bad.yaml:10:", "alcie", "alice"), lab(home="{nat: symmetric, hosts: [alcie]}")),
    Case("a topology without a lab", ("bad", "no lab", "`lab`"), real()),
]  # fmt: skip

SECRETS = [
    Case("a secret in clear text", ("bad.yaml:2:", "network.psk", "{file: PATH}"), lab(network=f"subnet: 10.0.0.0/24, psk: {CLEAR_SECRET}")),
    Case("a secret file that others can read", ("open.key", "mode 0644", "chmod 600"), lab(network="subnet: 10.0.0.0/24, psk: {file: open.key}")),
    Case("a private key that others can read", ("open.key", "mode 0644", "chmod 600"), lab(alice="{private_key: {file: open.key}}")),
    Case("a secret file that is not there", ("pre-shared key", "nowhere.key", "No such file"), lab(network="subnet: 10.0.0.0/24, psk: {file: nowhere.key}")),
    Case("a secret file without a key", ("clear.key", "does not hold a key", "wg genkey"), lab(network="subnet: 10.0.0.0/24, psk: {file: clear.key}")),
    Case("a variable that is not set", ("pre-shared key", "LTK_TEST_NOT_SET", "export"), lab(network="subnet: 10.0.0.0/24, psk: {env: LTK_TEST_NOT_SET}")),
    Case("a command that fails", ("pre-shared key", "`exit 3`", "status 3", "in a shell"), lab(network="subnet: 10.0.0.0/24, psk: {command: exit 3}")),
    Case("a command that prints no key", ("pre-shared key", "`cat clear.key`", "44 characters", "ltk keygen"), lab(network="subnet: 10.0.0.0/24, psk: {command: cat clear.key}")),
]  # fmt: skip

UNKNOWN = [
    Case("a file that does not exist", ("nowhere.yaml", "no such file"), arguments=("apply", "nowhere.yaml")),
    Case("a folder", ("folder, not a file", "topology.yaml"), arguments=("plan", ".", "-o", "json")),
    Case("an unknown verb", ("aply", "ltk --help"), arguments=("aply", FILE)),
    Case("an unknown option", ("--forse", "ltk apply --help"), arguments=("apply", FILE, "--forse")),
    Case("an unknown node to apply", ("--only", "zed", "hub, alice"), arguments=("apply", FILE, "--only", "zed")),
    Case("an unknown node to run in", ("zed", "bad", "hub, alice"), arguments=("exec", FILE, "zed", "--", "true")),
    Case("an unknown node for a shell", ("zed", "bad", "hub, alice"), arguments=("shell", FILE, "zed")),
    Case("an unknown node to ping", ("zed", "bad", "hub, alice"), arguments=("ping", FILE, "hub", "zed", "-o", "json")),
    Case("an unknown node to ping from", ("zed", "bad", "hub, alice"), arguments=("ping", FILE, "zed", "hub")),
]  # fmt: skip

NOT_UP = [
    Case(f"{verb} of {what} that is not up", words, arguments=(verb, topology, *more))
    for verb, more in {
        "status": ("-o", "json"),
        "exec": ("alice", "--", "true"),
        "shell": ("alice",),
        "ping": ("-o", "json"),
    }.items()
    for what, topology, words in (
        ("a name", "bad", ("bad", "name of a topology that is up", "ltk apply FILE")),
        ("a file", FILE, ("bad", "not up", f"ltk apply {FILE}")),
    )
] + [
    Case("destroy of a name that is not up", ("bad", "not up", "Up are:"), arguments=("destroy", "bad")),
]

MACHINE = [
    Case(
        f"{verb} while another is at work",
        ("bad", f"process {os.getpid()} is at work", "run this again"),
        arguments=(verb, FILE, "-o", "json"),
        status=BUSY,
        circumstances=somebody_at_work,
    )
    for verb in ("apply", "destroy")
] + [
    Case(
        f"{verb} where somebody's namespace stands",
        ("ltk-bad-alice", "not ltk's", "Remove or rename"),
        arguments=(verb, FILE, "-o", "json"),
        status=IN_THE_WAY,
        circumstances=a_namespace_of_somebodys,
    )
    for verb in ("plan", "apply")
] + [
    Case("no nft", ("nft", "not installed", "apt-get install nftables"), status=MISSING, prefix=(*NO_NFT,)),
    Case("no TUN", ("/dev/net/tun", "CONFIG_TUN", "ltk doctor"), status=MISSING, prefix=(*NO_TUN,)),
    Case("not root", ("user 65534", "namespaces", "root"), status=MISSING, prefix=(*NOT_ROOT,)),
    Case(
        "root without capabilities",
        ("CAP_NET_ADMIN", "CAP_SYS_ADMIN", "container"),
        status=MISSING,
        prefix=(*NO_CAPABILITIES,),
    ),
]  # fmt: skip

CASES = [*MALFORMED, *IMPOSSIBLE, *SECRETS, *UNKNOWN, *NOT_UP, *MACHINE]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a user stands: with a topology, a key that lies open, and a file that is no key."""
    for name, text, mode in (("open.key", KEY, 0o644), ("clear.key", CLEAR_SECRET, 0o600)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o005)  # so that another user gets as far as the topology
    return tmp_path


def run(case: Case, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [*case.prefix, sys.executable, "-m", "ltk", *case.arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_gets_a_clear_error_and_changes_nothing(case: Case, folder: Path) -> None:
    text = case.yaml.encode() if isinstance(case.yaml, str) else case.yaml
    (folder / FILE).write_bytes(text)
    with case.circumstances():
        before = machine_state()
        done = run(case, folder)
        assert machine_state() == before
    assert done.returncode == case.status, done.stderr
    assert "Traceback" not in done.stderr
    assert CLEAR_SECRET not in done.stdout + done.stderr
    assert [word for word in case.words if word not in done.stderr] == [], done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("case", MALFORMED + IMPOSSIBLE[:-1] + SECRETS[:1], ids=lambda case: case.name)
def test_a_file_is_judged_the_same_without_being_applied(case: Case, folder: Path) -> None:
    """`ltk validate` tells people and programs the same, in the same places."""
    text = case.yaml.encode() if isinstance(case.yaml, str) else case.yaml
    (folder / FILE).write_bytes(text)
    asked = Case(case.name, case.words, arguments=("validate", FILE, "-o", "json"))
    done = run(asked, folder)
    assert done.returncode == INVALID
    found = json.loads(done.stdout)
    assert (found["version"], found["valid"]) == (1, False)
    told = " ".join("{file}:{line}:{column} {key}: {message}".format(**each) for each in found["problems"])
    assert [word for word in case.words if word not in told] == [], told
    assert CLEAR_SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("yaml", [lab(), real()], ids=["lab", "real hosts"])
def test_what_the_cases_start_from_is_valid(yaml: str, folder: Path) -> None:
    """Otherwise the cases above would prove nothing."""
    (folder / FILE).write_text(yaml)
    done = run(Case("valid", (), arguments=("validate", FILE)), folder)
    assert done.returncode == 0, done.stderr
