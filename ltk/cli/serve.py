"""`ltk serve`: the server of a network from one shared secret."""

from __future__ import annotations

import click

from ltk.cli.adhoc import (
    DEFAULT_PORT,
    check_device,
    common_options,
    read_secret,
    tell,
    tunnel_address,
)
from ltk.errors import InvalidInputError


@click.command(
    "serve",
    epilog="Example:  ltk serve --address 10.0.0.1/24 --secret-file key",
)
@click.option(
    "--listen",
    default=f"[::]:{DEFAULT_PORT}",
    show_default=True,
    help="The UDP port, and on which of this machine's addresses; [::] is all of them.",
)
@common_options
def command(listen: str, address: str, secret_file: str | None, device: str | None, mtu: int) -> None:
    """Be the server of a network whose nodes share a secret, until Ctrl-C.

    Whoever has the secret can `ltk join`, at any address of the subnet. The server introduces its clients
    to each other, and relays what they cannot say directly.
    """
    from ltk.node import lean

    lean.without_ifma()
    from ltk.node import adhoc

    own = tunnel_address(address)
    check_device(device)
    host, port = _listener(listen)
    settings = adhoc.Settings(
        secret=read_secret(secret_file),
        address=own,
        listen=port,
        listen_host=host,
        mtu=mtu,
        device=device,
    )
    stated = "" if own.ip == next(iter(own.network.hosts())) else f" --server-address {own.ip}"
    subnet = f"ADDRESS/{own.network.prefixlen}"
    tell(f"clients type: ltk join HOST:{port} --address {subnet}{stated} --secret-file FILE")
    adhoc.run(settings, tell)


def _listener(text: str) -> tuple[str, int]:
    from ltk.node.config import split_endpoint
    from ltk.node.resolve import numeric

    doing = f"reading where to listen, {text}"
    try:
        host, port = split_endpoint(text if ":" in text else f"[::]:{text}")
    except ValueError as error:
        raise InvalidInputError(doing, str(error), hint="Write it as 0.0.0.0:9000 or [::]:9000.") from None
    address = numeric(host)
    if address is None:
        raise InvalidInputError(
            doing, f"{host} is no address", hint="0.0.0.0 is all of this machine's IPv4 addresses, [::] all."
        )
    return address, port
