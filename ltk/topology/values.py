"""The values of a topology file, from text: addresses, subnets, endpoints, keys.

Each function takes what stands in the file and returns the value, or raises `UnreadableError` with
the two halves of a good message: what is wrong, and what would be right.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv6Address,
    ip_address,
    ip_network,
)

from ltk.topology.expanded import Address, Network

KEY_BYTES = 32  # an X25519 key; RFC 7748, section 5
MAX_PORT = 65535
MAX_HOST_NAME = 253  # characters; RFC 1035, section 2.3.4, without the dots at both ends
MAX_QUOTE = 48  # characters of the file's own text that a message repeats

# Addresses that no host on a network may have, so that no subnet may hold them (RFC 6890).
NOT_FOR_HOSTS = tuple(
    (ip_network(text), what)
    for text, what in (
        ("0.0.0.0/8", "this-network"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/127", "unspecified and loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("fe80::/10", "link-local"),
        ("ff00::/8", "multicast"),
    )
)

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_KEY_LIKE = re.compile(r"[A-Za-z0-9+/]{43}=")


class UnreadableError(ValueError):
    """A value could not be read. `remedy` says what would be right; it may be empty."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    @property
    def words(self) -> str:
        """Both halves: "what is wrong (what would be right)"."""
        return f"{self.problem} ({self.remedy})" if self.remedy else self.problem


def mask_keys(text: str) -> str:
    """The text with everything that looks like a WireGuard key starred out, at the same length."""
    return _KEY_LIKE.sub(lambda match: "*" * len(match.group()), text)


def quote(value: object) -> str:
    """A value from the file as a message may repeat it: short, printable, without keys."""
    match value:
        case None:
            return "empty"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            text = mask_keys(value)
            text = text if len(text) <= MAX_QUOTE else text[: MAX_QUOTE - 1] + "…"
            return "'" + "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text) + "'"
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return f"a {type(value).__name__}"


def parse_address(value: object) -> Address:
    """An IPv4 or IPv6 address without a prefix length or zone."""
    text = _text(value, "an address such as 10.0.0.1")
    if "/" in text:
        bare = text.partition("/")[0]
        raise UnreadableError(
            f"should be an address without a prefix length, is {quote(text)}",
            f"write {bare}; the length follows from the subnet" if bare else "",
        )
    try:
        address = ip_address(text)
    except ValueError:
        raise UnreadableError(
            f"should be an IP address, is {quote(text)}", "such as 10.0.0.1 or fd00::1"
        ) from None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise UnreadableError(
            f"should be an address without a zone, is {quote(text)}", "leave out the % and what follows"
        )
    return address


def parse_network(value: object) -> Network:
    """A subnet in prefix notation, host bits clear, of addresses that hosts may have.

    The whole of a family (0.0.0.0/0, ::/0) is returned as it is: what it means depends on the key.
    """
    text = _text(value, "a subnet such as 10.0.0.0/24")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise UnreadableError(
            f"should be a subnet, is {quote(text)}", "such as 10.0.0.0/24 or fd00::/64"
        ) from None
    if "/" not in text:
        raise UnreadableError(
            f"should be a subnet, is the address {quote(text)}", "such as 10.0.0.0/24 or fd00::/64"
        )
    if not text.rpartition("/")[2].isdecimal():
        raise UnreadableError(f"should end in a prefix length, is {quote(text)}", f"write {network}")
    if ip_address(text.partition("/")[0]) != network.network_address:
        raise UnreadableError(f"has host bits set: {quote(text)}", f"write {network}")
    for special, what in NOT_FOR_HOSTS:
        if network.prefixlen > 0 and networks_overlap(network, special):
            raise UnreadableError(
                f"{network} holds {what} addresses ({special})", "private ones are 10.0.0.0/8 or fd00::/8"
            )
    return network


def parse_endpoint(value: object) -> str:
    """ "HOST:PORT" or "[IPV6]:PORT", with the host's case and the port's digits normalised."""
    text = _text(value, "HOST:PORT")
    host, port = split_endpoint(text)
    if not port.isascii() or not port.isdecimal() or len(port) > 5 or not 0 < int(port) <= MAX_PORT:
        raise UnreadableError(
            f"should end in a port from 1 to {MAX_PORT}, is {quote(text)}", "such as hub.example.net:51820"
        )
    if host.startswith("["):
        try:
            return f"[{IPv6Address(host[1:-1])}]:{int(port)}"
        except AddressValueError:
            raise UnreadableError(f"has no IPv6 address between the brackets: {quote(text)}") from None
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return f"{IPv4Address(host)}:{int(port)}"
        except AddressValueError:
            raise UnreadableError(f"has no valid IPv4 address before the port: {quote(text)}") from None
    labels = host.rstrip(".").split(".")
    if len(host) > MAX_HOST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise UnreadableError(
            f"should begin with a host name or an address, is {quote(text)}", "such as hub.example.net:51820"
        )
    return f"{host}:{int(port)}"


def parse_listener(value: object) -> str:
    """ "ADDRESS:PORT" or "[IPV6]:PORT" at which to listen: an endpoint without a name to be resolved."""
    endpoint = parse_endpoint(value)
    if endpoint_address(endpoint) is None:
        raise UnreadableError(
            f"should begin with an IP address, is {quote(value)}", "such as 127.0.0.1:9586 or [::1]:9586"
        )
    return endpoint


def split_endpoint(text: str) -> tuple[str, str]:
    """The host (with its brackets, where it has any) and the port of an endpoint.

    Raises UnreadableError where there are not two such parts.
    """
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if ":" in host and not bracketed:
        raise UnreadableError(
            f"is ambiguous: {quote(text)}", "an IPv6 address stands in brackets: [2001:db8::1]:51820"
        )
    if not colon or not host:
        raise UnreadableError(f"should be HOST:PORT, is {quote(text)}", "such as hub.example.net:51820")
    return host, port


def endpoint_address(endpoint: str) -> Address | None:
    """The address in an endpoint that `parse_endpoint` has read; None where it has a host name."""
    host, _ = split_endpoint(endpoint)
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def parse_public_key(value: object) -> str:
    """A WireGuard public key: 32 bytes in base64, as `wg pubkey` prints them."""
    text = _text(value, "a public key")
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES or base64.b64encode(key).decode() != text:
        raise UnreadableError(
            f"is not a key: {len(text)} characters that are not {KEY_BYTES} bytes in base64",
            "a key has 44 characters, the last one '='; `ltk keygen` makes a pair",
        )
    return text


def networks_overlap(one: Network, other: Network) -> bool:
    """Whether any address is in both; subnets of different families share none."""
    return one.version == other.version and (
        int(one.network_address) <= int(other.broadcast_address)
        and int(other.network_address) <= int(one.broadcast_address)
    )


def first_overlap(network: Network, others: Iterable[Network]) -> Network | None:
    """The first of `others` that shares an address with `network`."""
    return next((other for other in others if networks_overlap(network, other)), None)


def host_range(network: Network) -> range:
    """The addresses of a subnet that hosts may have, as integers.

    Without IPv4's network and broadcast address (but RFC 3021: both of a /31) and without IPv6's
    subnet-router anycast address (RFC 4291, section 2.6.1; but RFC 6164: both of a /127).
    """
    low, high = int(network.network_address), int(network.broadcast_address)
    if network.prefixlen >= network.max_prefixlen - 1:
        return range(low, high + 1)
    return range(low + 1, high if network.version == 4 else high + 1)


def _text(value: object, wanted: str) -> str:
    if not isinstance(value, str):
        raise UnreadableError(f"should be {wanted}, is {quote(value)}")
    return value
