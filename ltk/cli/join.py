"""`ltk join`: a client of a network from one shared secret."""

from __future__ import annotations

import click

from ltk.cli.adhoc import (
    DEFAULT_PORT,
    check_device,
    common_options,
    read_secret,
    servers_address,
    tell,
    tunnel_address,
)
from ltk.errors import InvalidInputError


@click.command(
    "join",
    epilog="Example:  ltk join hub.example.net --address 10.0.0.2/24 --secret-file key",
)
@click.argument("server", metavar="SERVER[:PORT]")
@click.option("--server-address", help="The server's tunnel address. Default: the first of the subnet.")
@click.option("--no-p2p", is_flag=True, help="Look for no direct paths: the server relays everything.")
@common_options
def command(
    server: str,
    server_address: str | None,
    no_p2p: bool,
    address: str,
    secret_file: str | None,
    device: str | None,
    mtu: int,
) -> None:
    """Be a client of a network whose nodes share a secret, until Ctrl-C.

    The server need not run yet: it is looked for until it answers. Each client needs an address of its
    own, in the server's subnet.
    """
    from ltk.node import lean

    lean.without_ifma()
    from ltk.node import adhoc
    from ltk.protocol.config import P2p

    own = tunnel_address(address)
    check_device(device)
    settings = adhoc.Settings(
        server=adhoc.Server(_endpoint(server), servers_address(server_address, own)),
        secret=read_secret(secret_file),
        address=own,
        listen=0,
        listen_host="::",
        mtu=mtu,
        device=device,
        p2p=P2p.OFF if no_p2p else P2p.ON_DEMAND,
    )
    adhoc.run(settings, tell)


def _endpoint(text: str) -> str:
    """HOST:PORT, with the port that `ltk serve` has where none is stated."""
    from ltk.node.config import split_endpoint
    from ltk.node.resolve import numeric

    if (address := numeric(text.removeprefix("[").removesuffix("]"))) is not None:
        return f"[{address}]:{DEFAULT_PORT}" if ":" in address else f"{address}:{DEFAULT_PORT}"
    try:
        split_endpoint(text if ":" in text else f"{text}:{DEFAULT_PORT}")
    except ValueError as error:
        raise InvalidInputError(
            f"reading the server's place {text}", str(error), hint="Write it as hub.example.net:9000."
        ) from None
    return text if ":" in text else f"{text}:{DEFAULT_PORT}"
