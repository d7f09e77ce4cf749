"""The things that ltk makes, as values: what is wanted and what is there are made of the same types.

A resource's identity is `key`: its kind, the namespace it lives in and its name. Two resources with
the same key and different values are an update; nothing here knows how to change anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import Field, dataclass, field, fields
from hashlib import blake2s
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from typing import Any, ClassVar, TypeAlias

Interface: TypeAlias = IPv4Interface | IPv6Interface
Network: TypeAlias = IPv4Network | IPv6Network
Key: TypeAlias = tuple[str, str, str]  # kind, scope, name

DEVICE = "device"  # the kind, in a key, of whatever takes the name of a cable's end
HERE = ""  # the scope of what is in no namespace of a lab: this machine's own
MAIN_TABLE = 254  # linux/rtnetlink.h
LOCALLY_ADMINISTERED = b"\x02"  # the first byte of an Ethernet address that nobody was assigned


def scope_of(topology: str, place: str) -> str:
    """The namespace of a node, of a site's router or of the internet of a lab."""
    return f"ltk-{topology}-{place}"


def place_of(topology: str, scope: str) -> str:
    """The node, site or "internet" behind a namespace of the topology."""
    return scope.removeprefix(f"ltk-{topology}-")


def _in(scope: str) -> str:
    return "" if scope == HERE else f" in {scope}"


class Resource(ABC):
    """What all resources share. `rank` orders creation: lower first; removal goes the other way."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # every resource is a dataclass
    kind: ClassVar[str]
    rank: ClassVar[int]
    scope: str

    @property
    @abstractmethod
    def name(self) -> str:
        """What tells this resource from others of its kind in its scope."""

    @property
    def key(self) -> Key:
        """The identity under which want and have are compared."""
        return (self.kind, self.scope, self.name)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The namespaces that this resource touches."""
        return (self.scope,)

    @property
    def compared(self) -> dict[str, object]:
        """By name, the values in which two of the same key may differ."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.compare}

    def __str__(self) -> str:
        return f"{self.kind} {self.name}{_in(self.scope)}"


@dataclass(frozen=True, slots=True)
class Namespace(Resource):
    """A named network namespace with its loopback; marked by a name of the loopback device."""

    kind: ClassVar[str] = "namespace"
    rank: ClassVar[int] = 0
    scope: str
    topology: str
    loopback_up: bool = True

    @property
    def name(self) -> str:
        return self.scope

    def __str__(self) -> str:
        return f"namespace {self.scope}"


@dataclass(frozen=True, slots=True)
class Setting(Resource):
    """A sysctl of a namespace. It has no owner: what no topology wants any more stays as it is."""

    kind: ClassVar[str] = "sysctl"
    rank: ClassVar[int] = 1
    scope: str
    setting: str
    value: str

    @property
    def name(self) -> str:
        return self.setting


@dataclass(frozen=True, slots=True)
class Stray(Resource):
    """A device with our group but without a name of ours: a killed run was in the middle of it."""

    kind: ClassVar[str] = "half-made device"
    rank: ClassVar[int] = 2
    scope: str
    device: str

    @property
    def name(self) -> str:
        return self.device


@dataclass(frozen=True, slots=True)
class Bridge(Resource):
    """The LAN of a site, inside its router."""

    kind: ClassVar[str] = "bridge"
    rank: ClassVar[int] = 2
    scope: str
    device: str
    mtu: int
    up: bool = True

    @property
    def name(self) -> str:
        return self.device

    @property
    def hardware(self) -> bytes:
        """Its Ethernet address, locally administered (IEEE 802-2014, section 8.4).

        Left to the kernel it would be that of one of the ports and change as they come and go: hosts
        would go on sending to the old one, which is no longer the router's, until they ask again. One
        that follows from the name stays what it was even when the bridge is made anew.
        """
        digest = blake2s(f"{self.scope} {self.device}".encode(), digest_size=5).digest()
        return LOCALLY_ADMINISTERED + digest


@dataclass(frozen=True, slots=True, order=True)
class End:
    """One end of a cable."""

    scope: str
    device: str
    mtu: int
    master: str | None = None
    up: bool = True


@dataclass(frozen=True, slots=True)
class Cable(Resource):
    """What joins two namespaces. The end that sorts first gives it its identity."""

    rank: ClassVar[int] = 3
    a: End
    b: End

    def __post_init__(self) -> None:
        if (self.b.scope, self.b.device) < (self.a.scope, self.a.device):
            first, second = self.b, self.a
            object.__setattr__(self, "a", first)
            object.__setattr__(self, "b", second)

    @property
    def scope(self) -> str:  # type: ignore[override]  # where its first end is
        return self.a.scope

    @property
    def name(self) -> str:
        return f"{self.a.device} - {self.b.device}@{self.b.scope}"

    @property
    def scopes(self) -> tuple[str, ...]:
        return (self.a.scope, self.b.scope)


@dataclass(frozen=True, slots=True)
class Veth(Cable):
    """A cable of the kernel's."""

    kind: ClassVar[str] = "cable"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What happens to packets on their way through a wire, to those of each direction alike."""

    delay: int = 0  # microseconds, one way
    jitter: int = 0  # microseconds by which the delay varies, up and down
    loss: int = 0  # packets of a million that are lost
    seed: int = 0
    rate: int = 0  # bits per second; 0: unlimited
    reorder: int = 0  # packets of a million that do not wait for the delay
    duplicate: int = 0  # packets of a million that arrive twice

    def __str__(self) -> str:
        delay, jitter, loss = self.delay / 1000, self.jitter / 1000, self.loss / 10_000
        words = [f"{delay:g}ms ±{jitter:g}ms", f"{loss:g}% lost"]
        if self.reorder:
            words.append(f"{self.reorder / 10_000:g}% reordered")
        if self.duplicate:
            words.append(f"{self.duplicate / 10_000:g}% doubled")
        if self.rate:
            words.append(f"{self.rate / 1_000_000:g} Mbit/s")
        return f"{', '.join(words)} (seed {self.seed})"


@dataclass(frozen=True, slots=True)
class Wire(Cable):
    """A cable with conditions: two TAP devices and the process that carries frames between them.

    `conditions` are those in force, None where nobody knows them; `carried` is whether the process
    holds both devices.
    """

    kind: ClassVar[str] = "wire"
    conditions: Conditions | None
    carried: bool = True


@dataclass(frozen=True, slots=True)
class Tun(Resource):
    """A persistent TUN device, to which a node's daemon attaches.

    `super_packet` is how many bytes the kernel hands over at most as one packet, to be cut later.
    """

    kind: ClassVar[str] = "tun"
    rank: ClassVar[int] = 3
    scope: str
    device: str
    mtu: int
    up: bool = True
    super_packet: int = 1 << 16

    @property
    def name(self) -> str:
        return self.device


@dataclass(frozen=True, slots=True)
class Address(Resource):
    """An address on a device."""

    kind: ClassVar[str] = "address"
    rank: ClassVar[int] = 4
    scope: str
    device: str
    interface: Interface

    @property
    def name(self) -> str:
        return f"{self.interface} dev {self.device}"


@dataclass(frozen=True, slots=True)
class Route(Resource):
    """A route; with a gateway, one that counts as reachable on the device.

    ltk makes routes without a metric: beside one that has the mark and a metric there can be another.
    """

    kind: ClassVar[str] = "route"
    rank: ClassVar[int] = 5
    scope: str
    destination: Network
    device: str
    gateway: str | None = None
    metric: int = 0
    table: int = MAIN_TABLE

    @property
    def name(self) -> str:
        return f"{self.destination}{self._apart}"

    @property
    def _apart(self) -> str:
        """What tells it from another one to the same destination."""
        metric = f" metric {self.metric}" if self.metric else ""
        return metric if self.table == MAIN_TABLE else f"{metric} table {self.table}"

    def __str__(self) -> str:
        via = f" via {self.gateway}" if self.gateway else ""
        device = f" dev {self.device}" if self.device else ""  # one that only refuses has none
        return f"route {self.destination}{via}{device}{self._apart}{_in(self.scope)}"


@dataclass(frozen=True, slots=True)
class Rule(Resource):
    """A policy rule: packets without the mark `unmarked` are led by `table` (see ltk.kernel.policy)."""

    kind: ClassVar[str] = "rule"
    rank: ClassVar[int] = 6  # after the routes to which it leads
    scope: str
    version: int
    priority: int
    table: int
    unmarked: int | None = None
    suppress: int | None = None

    @property
    def name(self) -> str:
        return f"{self.priority} of IPv{self.version}"


@dataclass(frozen=True, slots=True)
class OwnSetting(Resource):
    """A sysctl of this machine itself, which gets back what it was when nobody wants it any more."""

    kind: ClassVar[str] = "setting"
    rank: ClassVar[int] = 1
    scope: str
    setting: str
    value: str

    @property
    def name(self) -> str:
        return self.setting


@dataclass(frozen=True, slots=True)
class Ruleset(Resource):
    """An nftables table, `ltk` in a lab; `fingerprint` is compared, `text` is what nft loads."""

    kind: ClassVar[str] = "ruleset"
    rank: ClassVar[int] = 6
    scope: str
    fingerprint: tuple[str, ...]
    text: str = field(default="", compare=False, repr=False)
    table: str = "ltk"

    @property
    def name(self) -> str:
        return f"table inet {self.table}"


@dataclass(frozen=True, slots=True)
class Secret(Resource):
    """A file that holds a key; only its fingerprint is ever compared or shown."""

    kind: ClassVar[str] = "secret"
    rank: ClassVar[int] = 7
    scope: str
    path: str
    fingerprint: str
    value: str = field(default="", compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.path

    def __str__(self) -> str:
        return f"secret {self.path}"


@dataclass(frozen=True, slots=True)
class Daemon(Resource):
    """A node's running daemon with its configuration (the document that `ltk node` reads).

    `public_key` and `psk_ids` (by peer) tell which keys the daemon holds, so that a changed key file
    is a difference.
    """

    kind: ClassVar[str] = "daemon"
    rank: ClassVar[int] = 8
    scope: str
    node: str
    config: dict[str, Any]
    public_key: str
    psk_ids: dict[str, str | None]
    attached: bool = True
    running: bool = True

    @property
    def name(self) -> str:
        return self.node

    def __str__(self) -> str:
        return f"daemon {self.node}"


@dataclass(frozen=True, slots=True)
class Program(Resource):
    """A shell command that the supervisor keeps running in a node's namespace, in `folder`.

    It is there when it is kept running; whether it runs at this moment is its own affair.
    """

    kind: ClassVar[str] = "program"
    rank: ClassVar[int] = 9
    scope: str
    node: str
    command: str
    folder: str

    @property
    def name(self) -> str:
        return self.node

    def __str__(self) -> str:
        return f"program of {self.node}"


State: TypeAlias = dict[Key, Resource]


def state_of(resources: list[Resource]) -> State:
    """Index resources by key; two of the same key are a mistake in the caller."""
    state: State = {}
    for resource in resources:
        key = resource.key  # made anew whenever it is asked for, and a large lab has thousands
        assert key not in state, f"{resource} is described twice"
        state[key] = resource
    return state
