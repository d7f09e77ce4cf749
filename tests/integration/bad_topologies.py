"""Topology files that must be refused, each with what must be said about it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
OTHER_KEY = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
CLEAR_SECRET = "hunter2-hunter2-hunter2"
FILE = "bad.yaml"
INVALID = 3  # exit status


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


@dataclass(frozen=True, slots=True)
class Case:
    """What is given, and what must be said about it: what is wrong, where, and what to do next."""

    name: str
    words: tuple[str, ...]
    yaml: str | bytes = lab()
    arguments: tuple[str, ...] = ("apply", FILE, "-o", "json")
    status: int = INVALID
    circumstances: Callable[[], AbstractContextManager[None]] = nullcontext
    ltk: tuple[str, ...] = ()  # the program, where it is not started in the usual way


MALFORMED = [
    Case("not YAML", ("bad.yaml:2:8", "YAML", "expected ','"), "name: [bad\nnetwork: {"),
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
    Case(
        "a LAN over the tunnel's subnet",
        ("bad.yaml:10:", "overlaps", "choose another"),
        lab(home="{nat: symmetric, lan: 10.0.0.0/16, hosts: [alice]}"),
    ),
    Case(
        "an internet over the tunnel's subnet",
        ("bad.yaml:7:", "overlaps", "10.0.0.0/24"),
        lab(internet="10.0.0.0/8"),
    ),
    Case(
        "a subnet without room",
        ("bad.yaml:2:", "10.0.0.0/30", "needed are 3", "/29"),
        lab(network="subnet: 10.0.0.0/30", more="  bob: {}\n", cloud="{hosts: [hub, bob]}"),
    ),
    Case(
        "an internet without room",
        ("bad.yaml:7:", "203.0.113.0/30", "has room"),
        lab(internet="203.0.113.0/30"),
    ),
    Case(
        "an address twice",
        ("bad.yaml:5:", "10.0.0.1", "hub"),
        lab(hub="{role: server, address: 10.0.0.1}", alice="{address: 10.0.0.1}"),
    ),
    Case("a public key twice", ("bad.yaml:5:", "public_key", "hub"), real(alice=KEY)),
    Case(
        "an endpoint twice",
        ("bad.yaml:5:", "endpoint", "hub"),
        real(alice=f"{OTHER_KEY}, endpoint: 'hub.example:9000'"),
    ),
    Case(
        "a name for a node and a site",
        ("bad.yaml:10:", "alice", "rename"),
        lab().replace("    home:", "    alice:"),
    ),
    Case(
        "the name of a lab's own device",
        ("bad.yaml:6:3", "wan", "choose another"),
        lab(more="  wan: {}\n", cloud="{hosts: [hub, wan]}"),
    ),
    Case("a name too long for a folder", ("bad.yaml:1:7", "at most 24"), lab(name="b" * 25)),
    Case(
        "a name too long for a device",
        ("bad.yaml:6:3", "at most 15"),
        lab(more=f"  {'n' * 16}: {{}}\n", cloud=f"{{hosts: [hub, {'n' * 16}]}}"),
    ),
    Case(
        "a device's name too long",
        ("bad.yaml:5:", "device", "at most 15"),
        lab(alice=f"{{device: {'d' * 16}}}"),
    ),
    Case(
        "two ways to everywhere",
        ("bad.yaml:5:", "0.0.0.0/0", "which is behind hub already", "there is one way out"),
        lab(hub="{role: server, routes: 0.0.0.0/0}", alice="{routes: 0.0.0.0/0}"),
    ),
    Case(
        "a route over the internet",
        ("bad.yaml:5:", "203.0.113.0/24", "cut off the underlay", "lab.internet"),
        lab(alice="{routes: 203.0.113.0/25}"),
    ),
    Case(
        "a route over the endpoint",
        ("bad.yaml:4:", "198.51.100.7", "cut off the underlay"),
        real(hub=f"endpoint: '198.51.100.7:9000', public_key: {KEY}, routes: 198.51.100.0/24"),
    ),
    Case("two servers", ("bad.yaml:5:", "alice is a second server"), lab(alice="{role: server}")),
    Case("no server", ("bad.yaml:3:", "no server", "role: server"), lab(hub="{}")),
    Case(
        "a server behind a NAT",
        ("bad.yaml:10:", "nobody can reach the server hub", "without nat"),
        lab(cloud="{}", home="{nat: symmetric, hosts: [alice, hub]}"),
    ),
    Case(
        "a server without an endpoint",
        ("bad.yaml:4:", "nobody can reach", "endpoint: HOST:PORT"),
        real(hub=f"public_key: {KEY}"),
        arguments=("apply", FILE, "--node", "hub", "-o", "json"),
    ),
    Case(
        "a host that is no node",
        ("bad.yaml:10:", "no such node", "did you mean 'alice'"),
        lab(home="{nat: symmetric, hosts: [alcie]}"),
    ),
    Case("a topology without a lab", ("bad", "no such node", "--node hub"), real()),
]

SECRETS = [
    Case(
        "a secret in clear text",
        ("bad.yaml:2:", "network.psk", "{file: PATH}"),
        lab(network=f"subnet: 10.0.0.0/24, psk: {CLEAR_SECRET}"),
    ),
    Case(
        "a secret file that others can read",
        ("open.key", "mode 0644", "chmod 600"),
        lab(network="subnet: 10.0.0.0/24, psk: {file: open.key}"),
    ),
    Case(
        "a private key that others can read",
        ("open.key", "mode 0644", "chmod 600"),
        lab(alice="{private_key: {file: open.key}}"),
    ),
    Case(
        "a secret file that is not there",
        ("pre-shared key", "no file", "nowhere.key", "ltk keygen"),
        lab(network="subnet: 10.0.0.0/24, psk: {file: nowhere.key}"),
    ),
    Case(
        "a secret file without a key",
        ("clear.key", "does not hold a key", "wg genkey"),
        lab(network="subnet: 10.0.0.0/24, psk: {file: clear.key}"),
    ),
    Case(
        "a variable that is not set",
        ("pre-shared key", "LTK_TEST_NOT_SET", "export"),
        lab(network="subnet: 10.0.0.0/24, psk: {env: LTK_TEST_NOT_SET}"),
    ),
    Case(
        "a command that fails",
        ("pre-shared key", "`exit 3`", "status 3", "in a shell"),
        lab(network="subnet: 10.0.0.0/24, psk: {command: exit 3}"),
    ),
    Case(
        "a command that prints no key",
        ("pre-shared key", "`cat clear.key`", "44 characters", "ltk keygen"),
        lab(network="subnet: 10.0.0.0/24, psk: {command: cat clear.key}"),
    ),
]
