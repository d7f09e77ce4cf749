"""`ltk keygen`: make a key pair."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from ltk.cli.common import emit, output_option, unwritable
from ltk.errors import InTheWayError, InvalidInputError


@click.command("keygen", epilog="Example:  ltk keygen /etc/ltk/alice.key")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--for",
    "whom",
    metavar="TOPOLOGY/NODE",
    envvar="LTK_FOR",
    show_envvar=True,
    help="This machine's own, as that node.",
)
@output_option
def command(file: Path | None, whom: str | None, output: str) -> None:
    """Make a key pair, in the form that `wg` uses.

    With FILE the private key goes there, readable by its owner alone, and only the public key is
    printed. A private key is also a good pre-shared key. With --for it goes where `ltk apply` looks for
    the key of this machine, and stays what it is if it is there already.
    """
    from ltk.protocol.primitives import KEY_SIZE, encode_key, private_key_from_random, public_key_of

    private = private_key_from_random(os.urandom(KEY_SIZE))
    keys = {"private_key": encode_key(private), "public_key": encode_key(public_key_of(private))}
    if whom is not None:
        keys = {"public_key": _own(whom, file, private)}
    elif file is not None:
        _write(file, keys.pop("private_key"))
    if output == "json":
        emit(keys)
    else:
        for name, key in keys.items():
            click.echo(f"{name}: {key}")


def _own(whom: str, file: Path | None, fresh: bytes) -> str:
    """The public key of this machine as TOPOLOGY/NODE; `fresh` is what its private key becomes if need be."""
    from ltk.kernel import paths
    from ltk.node.config import encode_key, read_key_file
    from ltk.protocol.primitives import public_key_of

    topology, slash, node = whom.partition("/")
    names = re.compile("[A-Za-z0-9][A-Za-z0-9-]*")
    if file is not None or not slash or not names.fullmatch(topology) or not names.fullmatch(node):
        hint = "As in: ltk keygen --for home-office/alice"
        raise InvalidInputError("reading the arguments", "--for takes TOPOLOGY/NODE and no FILE", hint=hint)
    kept = paths.key_file(topology, node)
    if not kept.exists():
        paths.make_private_folder(kept.parent)
        _write(kept, encode_key(fresh))
    return encode_key(public_key_of(read_key_file(kept)))


def _write(file: Path, key: str) -> None:
    doing = f"writing {file}"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise InTheWayError(doing, "it exists", hint="A key that is in use is not overwritten.") from None
    except OSError as error:
        raise unwritable(file, error) from error
    try:
        with os.fdopen(descriptor, "w") as opened:
            opened.write(f"{key}\n")
    except OSError as error:
        file.unlink(missing_ok=True)  # half a key is of no use, and would be in the way of a whole one
        raise unwritable(file, error) from error
