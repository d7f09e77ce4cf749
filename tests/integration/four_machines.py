"""An internet of both families with three machines: a server, a way out, and alice, whom tests change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness import wait_for
from real_machines import Machine, machines

WEB = {4: "198.51.100.80", 6: "2001:db8:80::80"}  # a server on the internet, outside of the tunnel
NUMBERS = {"hub": 1, "gate": 2, "alice": 3}  # of each machine's network
IN_TUNNEL = {name: {4: f"10.9.0.{number}", 6: f"fd09::{number}"} for name, number in NUMBERS.items()}
PORT = 51820
EVERYWHERE = '0.0.0.0/0, "::/0"'
NOBODY = "GZtuyLZ4ZHPj0dUY1OtZxbjj6NrvKMtSeQ0KDVQ0PAo="  # the public key of a machine that there is none of
COUNTED = "".join(
    f"""
  counter web{version}_{name} {{}}
  counter tunnel{version}_{name} {{}}"""
    for version in (4, 6)
    for name in NUMBERS
)
OTHERS = (  # alice's own, and much like ltk's
    "link add theirs type veth peer name beyond",
    "link set beyond up",
    "link set theirs up",
    "address add 192.168.1.5/24 dev theirs",
    "address add fd99::5/64 dev theirs",
    "route add 172.20.0.0/16 dev theirs protocol 108",
    "route add 172.21.0.0/16 dev theirs table 1234",
    "rule add from 172.21.0.0/16 lookup 1234 priority 500",
    "-6 rule add from fd99::/64 lookup 1234 priority 500",
    "nft add table inet ltk",
    "nft add chain inet ltk theirs { type filter hook forward priority 5; }",
)


def underlay(name: str, version: int, host: int = 2) -> str:
    """The address of a machine on the internet; with `host` 1, of its router."""
    number = NUMBERS[name]
    return f"198.18.{number}.{host}" if version == 4 else f"2001:db8:{number}::{host}"


@dataclass(frozen=True, slots=True)
class World:
    """The machines, their public keys and alice's private one, and a folder for files."""

    at: dict[str, Machine]
    keys: dict[str, str]
    private: str
    folder: Path

    @property
    def alice(self) -> Machine:
        return self.at["alice"]

    def file(self, name: str = "trio", *, version: int = 6, **told: str) -> Path:
        """A topology, its server reached by that family; `told` is what is said of a node beside its key."""
        endpoint = underlay("hub", version)
        endpoint = f"[{endpoint}]:{PORT}" if version == 6 else f"{endpoint}:{PORT}"
        said = {"hub": f'role: server, endpoint: "{endpoint}", ', "gate": "", "alice": ""} | told
        lines = [f"name: {name}", "network: {subnet: [10.9.0.0/24, 'fd09::/64']}", "nodes:"]
        for node, words in said.items():
            key = self.keys.get(node, NOBODY)
            number = NUMBERS.get(node, 9)
            address = f"[10.9.0.{number}, 'fd09::{number}']"
            lines.append(
                f"  {node}: {{{words.rstrip(', ')}{', ' * bool(words)}address: {address}, public_key: {key}}}"
            )
        path = self.folder / f"{name}.yaml"
        path.write_text("\n".join([*lines, ""]))
        return path

    def put_key(self, topology: str = "trio") -> None:
        """Have alice have the private key of which the others know the public one."""
        folder = f"/var/lib/ltk/{topology}"
        script = f"umask 077; mkdir -p {folder}; echo '{self.private}' > {folder}/alice.key"
        self.alice.run("sh", "-c", script)

    def seen(self, what: str, name: str) -> dict[int, int]:
        """By family, a machine's packets that the internet has carried: for the `web`, or of its `tunnel`."""
        return {version: self.at["core"].counter(f"{what}{version}_{name}") for version in (4, 6)}

    def reach(self, *targets: str) -> None:
        """Wait until alice reaches these."""
        for target in targets:
            wait_for(partial(self.alice.reaches, target), f"alice reaches {target}")


@contextmanager
def joined(folder: Path) -> Iterator[World]:
    """The machines on their cables; the server and the way out are up, and alice has her key and is none."""
    with machines(["core", *NUMBERS]) as at:
        _connect(at)
        keys = {name: at[name].key("trio") for name in NUMBERS}
        private = at["alice"].run("cat", "/var/lib/ltk/trio/alice.key").strip()
        world = World(at, keys, private, folder)
        file = world.file(gate=f"routes: [192.168.50.0/24, {EVERYWHERE}]")
        for name in ("hub", "gate"):
            at[name].apply(file)
        at["alice"].ltk("destroy", "trio")
        at["alice"].network(*OTHERS)
        yield world


def _connect(at: dict[str, Machine]) -> None:
    core = at["core"]
    core.network("sysctl -qw net.ipv4.ip_forward=1", "sysctl -qw net.ipv6.conf.all.forwarding=1")
    core.network(*(f"address add {address} dev lo" for address in WEB.values()))
    for name in NUMBERS:
        core.wire(name, at[name], "eth0")
        for version, length in ((4, 24), (6, 64)):
            core.network(f"address add {underlay(name, version, 1)}/{length} dev {name}")
            at[name].network(
                f"address add {underlay(name, version)}/{length} dev eth0",
                f"route add default via {underlay(name, version, 1)}",
            )
    rules = "\n".join(
        f"""
    {family} saddr {underlay(name, version)} {family} daddr {WEB[version]} counter name web{version}_{name}
    {family} saddr {underlay(name, version)} udp sport {PORT} counter name tunnel{version}_{name}
    {family} saddr {underlay(name, version)} udp dport {PORT} counter name tunnel{version}_{name}"""
        for version, family in ((4, "ip"), (6, "ip6"))
        for name in NUMBERS
    )
    chain = f"chain carried {{ type filter hook prerouting priority 0;{rules}\n  }}"
    core.load(f"table inet test {{{COUNTED}\n  {chain}\n}}\n")
