"""The topology file as its author writes it, typed. The JSON Schema that editors use comes from here.

A key is here when it does something; every other key is an error. What a value means beyond its own
form (that a subnet has room, that a name exists) is for `expand` to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, TypeAlias

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Strict,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from ltk.topology.expanded import (
    Address,
    HardNat,
    Network,
    P2p,
    PathPolicy,
    Role,
    SecretSource,
    Transport,
)
from ltk.topology.expect_model import CheckSpec, Run
from ltk.topology.form import OWN_WORDS, Spec
from ltk.topology.form import read_by as _read_by
from ltk.topology.form import text as _text
from ltk.topology.nats import (
    PRESETS,
    Ipv6,
    Nat,
    NatFiltering,
    NatMapping,
    NatPreset,
    Ports,
    TcpPolicy,
    UdpPolicy,
    Unsolicited,
)
from ltk.topology.quantities import MICROSECONDS, duration_text, parse_duration, parse_rate, parse_share
from ltk.topology.ssh import parse_ssh
from ltk.topology.values import (
    MAX_PORT,
    UnreadableError,
    parse_address,
    parse_endpoint,
    parse_listener,
    parse_network,
    parse_public_key,
    quote,
)

MAX_TOPOLOGY_NAME = 24  # characters; "ltk-" + it + "-" + 15 stays well under a file name's 255
MAX_NAME = 15  # characters; also names network devices (IFNAMSIZ - 1)
MAX_DEVICE_NAME = 15  # characters; IFNAMSIZ - 1
MAX_COUNT = 1000
MIN_MTU = 576  # bytes; what every IPv4 host takes (RFC 791)
MAX_MTU = 65535  # bytes; the IPv4 total length field
DEFAULT_MTU = 1380  # bytes; fits 1500-byte Ethernet over an IPv6 underlay, headers included
DEFAULT_SERVER_PORT = 51820  # UDP; what WireGuard's own tools and examples use
DEFAULT_INTERNET = "203.0.113.0/24"  # TEST-NET-3; RFC 5737
MAX_DELAY = 10_000_000  # microseconds; longer than any path that TCP or a handshake would survive
MAX_SEED = 2**32 - 1  # what a CRC-32 of a name, the default, can be
MAX_LIFETIME = 86_400  # seconds; a day
MAX_KEEPALIVE = 65535  # seconds; WireGuard's configuration has 16 bits for it

NAME_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9-]*$"
DEVICE_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9_.-]*$"
ENVIRONMENT_PATTERN: Final = "^[A-Za-z_][A-Za-z0-9_]*$"

WORD_TAG: Final = "<word>"
LIST_TAG: Final = "<list>"  # not keys of the file: `load` takes them out of the paths of errors
MAPPING_TAG: Final = "<mapping>"


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _one_or_more(examples: list[str], at_least: int = 1) -> WithJsonSchema:
    item = {"type": "string", "examples": examples}
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, "minItems": at_least}]})


def _up_to_the_longest_delay(value: object) -> int:
    microseconds = parse_duration(value)
    if microseconds > MAX_DELAY:
        raise UnreadableError(f"should be at most {duration_text(MAX_DELAY)}, is {value}")
    return microseconds


def _whole_seconds(value: object) -> int:
    microseconds = parse_duration(value)
    seconds, rest = divmod(microseconds, MICROSECONDS["s"])
    if rest or not 1 <= seconds <= MAX_LIFETIME:
        raise UnreadableError(f"should be whole seconds, from 1s to {MAX_LIFETIME}s, is {quote(value)}")
    return seconds


_Address = Annotated[Address, _read_by(parse_address)]
_Network = Annotated[Network, _read_by(parse_network)]
_LIST = BeforeValidator(_as_list)

Addresses: TypeAlias = Annotated[
    tuple[_Address, ...], _LIST, Field(min_length=1), _one_or_more(["10.0.0.1", "fd00::1"])
]
Networks: TypeAlias = Annotated[
    tuple[_Network, ...], _LIST, Field(min_length=1), _one_or_more(["10.0.0.0/24", "fd00::/64"])
]
Routes: TypeAlias = Annotated[tuple[_Network, ...], _LIST, _one_or_more(["192.168.50.0/24"], at_least=0)]
Lan: TypeAlias = Annotated[_Network, _text(None, ["192.168.1.0/24"])]
Endpoint: TypeAlias = Annotated[
    str, _read_by(parse_endpoint), _text(r":\d{1,5}$", ["hub.example.net:51820", "[2001:db8::1]:51820"])
]
Listener: TypeAlias = Annotated[
    str, _read_by(parse_listener), _text(r":\d{1,5}$", ["127.0.0.1:9586", "[::1]:9586"])
]
Ssh: TypeAlias = Annotated[str, _read_by(parse_ssh), _text(None, ["root@hub.example.net"])]
PublicKey: TypeAlias = Annotated[
    str,
    _read_by(parse_public_key),
    _text("^[A-Za-z0-9+/]{43}=$", ["xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="]),
]
Duration: TypeAlias = Annotated[
    int, _read_by(_up_to_the_longest_delay), _text(r"^[0-9]+(\.[0-9]+)? ?(us|ms|s)$", ["20ms", "1.5s"])
]
Lifetime: TypeAlias = Annotated[int, _read_by(_whole_seconds), _text(r"^[0-9]+ ?s$", ["30s", "120s"])]
Share: TypeAlias = Annotated[int, _read_by(parse_share), _text(r"^[0-9]+(\.[0-9]+)? ?%$", ["0.5%"])]
Rate: TypeAlias = Annotated[
    int, _read_by(parse_rate), _text(r"^([0-9]+(\.[0-9]+)? ?[kmg]?bit|unlimited)$", ["50mbit", "64kbit"])
]
Integer: TypeAlias = Annotated[int, Strict()]
Boolean: TypeAlias = Annotated[bool, Strict()]
Count: TypeAlias = Annotated[Integer, Field(ge=1, le=MAX_COUNT)]


class SecretSpec(Spec):
    """Where a secret comes from. The secret itself never stands in the file."""

    file: str | None = Field(default=None, min_length=1, examples=["psk.key"])
    """A file that holds the secret, relative to the topology's folder; nobody but its owner may read it."""
    env: str | None = Field(default=None, pattern=ENVIRONMENT_PATTERN, examples=["LTK_PSK"])
    """An environment variable that holds the secret."""
    command: str | None = Field(default=None, min_length=1, examples=["pass show vpn/psk"])
    """A shell command that prints the secret."""

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretSpec:
        if len(self.model_fields_set) != 1:
            given = " and ".join(sorted(self.model_fields_set)) or "none"
            words = f"should have exactly one of file, env and command, has {given}"
            raise PydanticCustomError(OWN_WORDS, "{words}", {"words": words})
        if any(not character.isprintable() for character in self.source.value):
            words = "should be one line of printable text"
            raise PydanticCustomError(OWN_WORDS, "{words}", {"words": words})
        return self

    @property
    def source(self) -> SecretSource:
        """The same, with a file as it was written."""
        match self:
            case SecretSpec(file=str() as file):
                return SecretSource("file", file)
            case SecretSpec(env=str() as env):
                return SecretSource("env", env)
            case _:
                return SecretSource("command", self.command or "")


def _shape_of_word_or_mapping(value: object) -> str:
    return MAPPING_TAG if isinstance(value, Mapping | Spec) else WORD_TAG


class P2pSpec(Spec):
    """How two clients look for a direct path."""

    mode: P2p | None = None
    """When: at their first packet, always (eager), or never (off). Default: on-demand, or as further up."""
    hard_nat: HardNat | None = Field(default=None, alias="hard-nat")
    """What is done where a NAT chooses a port for each destination. Default: birthday, or as further up."""


P2pWish: TypeAlias = Annotated[
    Annotated[P2p, Tag(WORD_TAG)] | Annotated[P2pSpec, Tag(MAPPING_TAG)],
    Discriminator(_shape_of_word_or_mapping),
]


def p2p_in(wish: P2p | P2pSpec | None) -> P2pSpec:
    """The long form of what was written."""
    return wish if isinstance(wish, P2pSpec) else P2pSpec(mode=wish)


class NetworkSpec(Spec):
    """The tunnel's own network."""

    subnet: Networks
    """The tunnel addresses: an IPv4 subnet, an IPv6 subnet, or a list of one of each."""
    mtu: Integer = Field(default=DEFAULT_MTU, ge=MIN_MTU, le=MAX_MTU)
    """The largest packet that the tunnel carries whole, in bytes; with an IPv6 subnet at least 1280."""
    psk: SecretSpec | None = None
    """A pre-shared key mixed into every handshake: {file: …}, {env: …} or {command: …}."""
    secret: SecretSpec | None = None
    """A secret from which the keys follow of all nodes that have none: {file: …}, {env: …}, {command: …}."""
    p2p: P2pWish = P2p.ON_DEMAND
    """When two clients look for a direct path: at their first packet, always (eager), or never (off)."""
    transport: Transport = Transport.AUTO
    """How clients reach the server: over UDP, and over TCP where that gets no answer (auto), or only one."""


class NodeDefaults(Spec):
    """Values for every node that does not state its own."""

    role: Role = Role.CLIENT
    """The server (exactly one), a client, wireguard (a stock peer, not run by ltk) or host (no tunnel)."""
    listen: Integer | None = Field(default=None, ge=0, le=MAX_PORT)
    """The UDP port; 0 is any. Default: 51820 for the server, 0 for the others."""
    keepalive: Integer | None = Field(default=None, ge=0, le=MAX_KEEPALIVE)
    """Seconds between packets that keep a NAT's mapping open; 0: none. Default: 20 for clients, else 0."""
    isolation: Boolean = False
    """On the server: clients reach the server and what is routed behind it, but not each other."""
    p2p: P2pWish | None = None
    """For a client: when it looks for direct paths to other clients. Default: the network's."""
    transport: Transport | None = None
    """How this client reaches the server; at the server udp means no TCP there. Default: the network's."""
    metrics: Listener | None = None
    """ADDRESS:PORT at which the daemon serves its metrics over HTTP. Default: nowhere."""
    device: str | None = Field(default=None, pattern=DEVICE_PATTERN, max_length=MAX_DEVICE_NAME)
    """The tunnel device. Default: ltk0 in a lab; on real hosts ltk- and the topology's name, cut to 15."""


class NodeSpec(NodeDefaults):
    """One end of tunnels."""

    count: Count | None = None
    """Make this many nodes of it, named NAME-01, NAME-02 and so on."""
    address: Addresses | None = None
    """The tunnel address, or a list of one per subnet; with count the first of a run. Default: the next."""
    routes: Routes = ()
    """The subnet behind this node, or a list of several, which the others reach through it."""
    masquerade: Boolean | None = None
    """Whether what goes on from here to those subnets bears this node's own address. Default: of all, yes."""
    endpoint: Endpoint | None = None
    """HOST:PORT where the others reach it. In a lab this is not used: there it follows from the lab."""
    ssh: Ssh | None = None
    """[USER@]HOST[:PORT] for `ltk apply --hosts`. Default: the host of the endpoint, else the node's name."""
    public_key: PublicKey | None = None
    """The WireGuard public key, in base64. In a lab, keys are made for the nodes that have none."""
    private_key: SecretSpec | None = None
    """Where the private key is: {file: …}, {env: …} or {command: …}. Default: made, and kept there."""
    run: Run | None = None
    """In a lab: a shell command that is kept running in the node."""


class PairSpec(Spec):
    """What holds between two clients, whatever the network and they themselves say."""

    between: Annotated[
        tuple[str, ...],
        Field(min_length=2, max_length=2, examples=[["alice", "bob"]]),
    ]
    """The names of the two clients."""
    p2p: P2pWish | None = None
    """When these two look for a direct path. Default: what follows from the two nodes."""
    path: PathPolicy = PathPolicy.AUTO
    """Which ways their data may take: any (auto), relay-only or direct-only; the latter are for debugging."""


class HostSpec(Spec):
    """A node's place in a site."""

    address: Addresses | None = None
    """Its underlay address, or a list of one per family; with count the first of a run. Default: the next."""
    link: LinkSpec | None = None
    """What its cable to the router does to packets. Default: a plain cable."""


def _shape_of_hosts(value: object) -> str | None:
    match value:
        case list() | tuple():
            return LIST_TAG
        case Mapping():
            return MAPPING_TAG
    return None


class LinkSpec(Spec):
    """What a cable does to packets, to those of each direction alike: a site's, or a host's to its router."""

    delay: Duration = Field(default="0ms", validate_default=True)
    """How long every packet takes, one way: a number and its unit, such as 20ms. At most 10s."""
    jitter: Duration = Field(default="0ms", validate_default=True)
    """By how much the delay varies, up and down; packets still keep their order. At most the delay."""
    loss: Share = Field(default="0%", validate_default=True)
    """How many packets are lost, such as 0.5%."""
    rate: Rate = Field(default="unlimited", validate_default=True)
    """How fast packets leave, such as 50mbit. What would wait more than 100 ms for it is dropped."""
    reorder: Share = Field(default="0%", validate_default=True)
    """How many packets do without the delay, and so overtake others. Needs a delay."""
    duplicate: Share = Field(default="0%", validate_default=True)
    """How many packets arrive twice."""
    seed: Integer | None = Field(default=None, ge=0, le=MAX_SEED)
    """Of what is random, so that a run can be repeated. Default: made from the name."""


class NatSpec(Spec):
    """What a router does to UDP, in the terms of RFC 4787."""

    preset: NatPreset | None = None
    """What holds for the keys that are not stated. Default: port-restricted."""
    mapping: NatMapping | None = None
    """Whether a socket has one public port for all it talks to, or one for each address (and port)."""
    filtering: NatFiltering | None = None
    """Who may send to a public port that is in use: everybody, or only whom its host has talked to."""
    hairpin: Boolean | None = None
    """Whether hosts of this site reach each other at their public address and port."""
    unsolicited: Unsolicited | None = None
    """What nobody has asked for is dropped, rejected, or accepted by the router itself."""
    ports: Ports | None = None
    """Which public port a mapping gets. Default: preserve; where the mapping is by destination, random."""
    lifetime: Lifetime | None = None
    """How long an idle UDP mapping is remembered, in whole seconds, such as 120s; at most 86400s."""
    udp: UdpPolicy | None = None
    """Which UDP may leave the site; dns-only is the port 53."""
    tcp: TcpPolicy | None = None
    """Which TCP may leave the site; web-only is the ports 80 and 443."""
    sessions: Integer | None = Field(default=None, ge=1, le=MAX_PORT)
    """How many sessions of UDP, TCP and pings a host inside may have at once. Default: any number."""

    @property
    def nat(self) -> Nat:
        """The kind with nothing left implicit."""
        base = PRESETS[self.preset or NatPreset.PORT_RESTRICTED]
        stated = {key: getattr(self, key) for key in self.model_fields_set - {"preset"}}
        nat = replace(base, **stated)
        if "ports" in stated or nat.mapping is base.mapping:
            return nat
        by_destination = nat.mapping in (
            NatMapping.ADDRESS_DEPENDENT,
            NatMapping.ADDRESS_AND_PORT_DEPENDENT,
        )
        return replace(nat, ports=Ports.RANDOM if by_destination else Ports.PRESERVE)


class SiteSpec(Spec):
    """A router with hosts behind it."""

    nat: Annotated[
        Annotated[NatPreset, Tag(WORD_TAG)] | Annotated[NatSpec, Tag(MAPPING_TAG)],
        Discriminator(_shape_of_word_or_mapping),
    ] = NatPreset.NONE
    """What the router does to packets: a preset, such as home or symmetric, or the same spelled out."""
    behind: str | None = None
    """The site in whose LAN this site's router stands, as behind a carrier's NAT. Default: the internet."""
    forward: dict[str, str] = Field(
        default={},
        json_schema_extra={
            "propertyNames": {"pattern": "^(udp|tcp)/[0-9]{1,5}$"},
            "examples": [{"udp/51820": "alice"}],
        },
    )
    """Ports that lead inside, whoever asks: {udp/51820: alice}, or alice:4500 for another port there."""
    one_to_one: str | None = None
    """The host, or the site behind this one, that gets all UDP and TCP that nobody else has asked for."""
    hosts: Annotated[
        Annotated[tuple[str, ...], Tag(LIST_TAG)] | Annotated[dict[str, HostSpec], Tag(MAPPING_TAG)],
        Discriminator(_shape_of_hosts),
    ] = ()
    """The nodes that stand here: a list of names, or a mapping from names to where exactly."""
    lan: Lan | None = None
    """The IPv4 subnet behind a NAT; sites may share one. Default: the next free from 192.168.1.0/24 on."""
    ipv6: Ipv6 | None = None
    """What a router with a NAT does to IPv6: there is none, only answers come in, or all. Default: none."""
    wan: Addresses | None = None
    """The router's public address, or a list of one per family; with count the first of a run."""
    link: LinkSpec | None = None
    """What the way to the internet does to packets; {} is nothing yet. Default: a plain cable."""
    count: Count | None = None
    """Make this many sites of it, named NAME-01 and so on; a host with the same count stands one in each."""


class LabSpec(Spec):
    """The network under the tunnels, built out of namespaces on one machine."""

    internet: Networks = (parse_network(DEFAULT_INTERNET),)
    """Public addresses: an IPv4 subnet, an IPv6 subnet or a list of one of each. Default: 203.0.113.0/24."""
    sites: dict[str, SiteSpec] = Field(
        json_schema_extra={
            "propertyNames": {"pattern": NAME_PATTERN, "maxLength": MAX_NAME},
            "minProperties": 1,
        }
    )
    """The routers and who stands behind them. Every node stands in exactly one site."""
    faults: tuple[str, ...] = Field(default=(), examples=[["block alice bob"]])
    """What is broken on purpose whenever this is applied, each as `ltk fault` takes it."""


class DefaultsSpec(Spec):
    """Values that are merged under others."""

    node: NodeDefaults = NodeDefaults()
    """Merged under every node."""


class TopologySpec(Spec):
    """A private network: its nodes, and (for a lab) the network under them."""

    name: str = Field(
        min_length=1, max_length=MAX_TOPOLOGY_NAME, pattern=NAME_PATTERN, examples=["home-office"]
    )
    """Names everything that ltk creates."""
    network: NetworkSpec = NetworkSpec.model_construct(subnet=())
    """The tunnel's own network: its addresses, its packet size, its pre-shared key. Not for hosts alone."""
    defaults: DefaultsSpec = DefaultsSpec()
    """What holds where nothing else is stated."""
    nodes: dict[str, NodeSpec] = Field(
        json_schema_extra={
            "propertyNames": {"pattern": NAME_PATTERN, "maxLength": MAX_NAME},
            "minProperties": 1,
        }
    )
    """The ends of the tunnels, by name; exactly one of them is the server."""
    pairs: tuple[PairSpec, ...] = ()
    """What holds between two clients in particular, for each pair of which there is something to say."""
    lab: LabSpec | None = None
    """How to build the network under the nodes out of namespaces. Without it the nodes are real hosts."""
    checks: tuple[CheckSpec, ...] = ()
    """What has to hold in the lab, one after another; `ltk test` finds out whether it does."""


class _Schema(GenerateJsonSchema):
    """Leaves out null: a key is absent or has a value."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if not isinstance(schema.get("default"), str | int):  # those of mappings stand at their keys
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a topology file."""
    schema = TopologySpec.model_json_schema(schema_generator=_Schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "ltk topology"}
