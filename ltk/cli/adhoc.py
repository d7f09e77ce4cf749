"""What `serve` and `join` share: where the secret is, what a tunnel address is, how lines are told."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ltk.errors import InvalidInputError

if TYPE_CHECKING:
    from ltk.protocol.config import IPAddress

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_PORT = 9000
DEFAULT_MTU = 1380  # bytes; as in a topology
DEVICE_LIMIT = 15  # characters; IFNAMSIZ - 1
SECRET = "LTK_SECRET"
SHORT = 12  # bytes of a secret, below which it is warned of
STDIN = "-"


def common_options(function: F) -> F:
    """`--address`, `--secret-file`, `--device` and `--mtu`."""
    for option in (
        click.option(
            "--mtu",
            type=click.IntRange(576, 65535),
            default=DEFAULT_MTU,
            show_default=True,
            help="The largest packet that the tunnel carries whole, in bytes; the same on all nodes.",
        ),
        click.option("--device", help="The tunnel device. Default: ltk0, or the next that is free."),
        click.option(
            "--secret-file",
            type=click.Path(path_type=str, allow_dash=True),
            help=f"The file of the shared secret, or -. Default: what the variable {SECRET} holds.",
        ),
        click.option(
            "--address", required=True, help="This node's tunnel address with its subnet: 10.0.0.2/24."
        ),
    ):
        function = option(function)
    return function


def read_secret(file: str | None) -> bytes:
    """The shared secret, from the file, standard input or the environment; warns of a short one.

    Raises InvalidInputError where there is none, or its file is open to others.
    """
    from ltk.node.config import SECRET_LIMIT, clean_secret, read_private_file

    doing = "reading the shared secret"
    if file is not None and file != STDIN:
        doing += f" in {file}"
        content = read_private_file(Path(file), SECRET_LIMIT + 2, doing=doing)
    elif file == STDIN:
        content = sys.stdin.buffer.read(SECRET_LIMIT + 2)
    elif (text := os.environ.get(SECRET)) is not None:
        content = os.fsencode(text)
    else:
        raise InvalidInputError(
            doing,
            f"neither --secret-file nor the variable {SECRET} is given",
            hint="`ltk keygen FILE` makes one; copy the file to all machines of the network.",
        )
    secret = clean_secret(content, doing=doing)
    if len(secret) < SHORT:
        click.echo(
            f"warning: the secret has {len(secret)} bytes only. Who records one packet can try out short"
            " ones; `ltk keygen FILE` makes a good one.",
            err=True,
        )
    return secret


def tunnel_address(text: str) -> IPv4Interface | IPv6Interface:
    """The address and the subnet in "10.0.0.2/24"; raises InvalidInputError for what no node can have."""
    from ltk.protocol.directory import MOST_ADDRESS_BITS

    doing = f"reading the address {text}"
    try:
        address = ip_interface(text)
    except ValueError:
        raise InvalidInputError(
            doing, "it is no address with a subnet", hint="Write it as 10.0.0.2/24 or fd00::2/120."
        ) from None
    network = address.network
    bits = network.max_prefixlen - network.prefixlen
    longest = network.max_prefixlen - MOST_ADDRESS_BITS
    if "/" not in text or not bits:
        hint = f"Write the subnet behind it, the same on all nodes: {address.ip}/{network.max_prefixlen - 8}"
        raise InvalidInputError(doing, "it does not say in which subnet it is", hint=hint)
    if bits > MOST_ADDRESS_BITS:
        hint = f"Choose a smaller subnet, or write a topology: {address.ip}/{network.max_prefixlen - 8}"
        raise InvalidInputError(doing, f"its subnet is larger than a /{longest}", hint=hint)
    if address.ip not in set(network.hosts()):
        raise InvalidInputError(
            doing, f"no node can have the first or last address of {network}", hint="Choose one in between."
        )
    return address


def servers_address(text: str | None, own: IPv4Interface | IPv6Interface) -> IPAddress:
    """The server's tunnel address: the one that is stated, or the first of the subnet."""
    hosts: list[IPAddress] = list(own.network.hosts())
    if text is None:
        server = hosts[0]
    else:
        doing = f"reading the server's tunnel address {text}"
        try:
            server = ip_address(text)
        except ValueError:
            raise InvalidInputError(doing, "it is no address", hint="Write it as 10.0.0.1.") from None
        if server not in hosts:
            raise InvalidInputError(doing, f"it is no node's address in {own.network}")
    if server == own.ip:
        raise InvalidInputError(
            f"joining as {own.ip}",
            "that is the server's own tunnel address",
            hint="Choose another --address, or state the server's with --server-address.",
        )
    return server


def check_device(name: str | None) -> None:
    """Raise InvalidInputError for what cannot be a device's name."""
    if name is None:
        return
    if not 0 < len(os.fsencode(name)) <= DEVICE_LIMIT or name in (".", "..") or set(name) & set("/: \t\n%"):
        raise InvalidInputError(
            f"reading the device's name {name!r}",
            f"it is not one of up to {DEVICE_LIMIT} characters without '/', ':', '%' and spaces",
        )


def tell(line: str) -> None:
    """Print one line with the time of day; who reads it in a pipe has it at once."""
    now = time.time()
    stamp = time.strftime("%H:%M:%S", time.localtime(now))
    click.echo(f"{stamp}.{int(now * 1000) % 1000:03d} {line}")
    sys.stdout.flush()
