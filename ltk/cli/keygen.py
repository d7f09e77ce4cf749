"""`ltk keygen`: make a key pair."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ltk.cli.common import emit, output_option
from ltk.errors import InTheWayError, LtkError


@click.command("keygen", epilog="Example:  ltk keygen /etc/ltk/alice.key")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@output_option
def command(file: Path | None, output: str) -> None:
    """Make a key pair, in the form that `wg` uses.

    With FILE the private key goes there, readable by its owner alone, and only the public key is
    printed. A private key is also a good pre-shared key.
    """
    from ltk.protocol.primitives import KEY_SIZE, encode_key, private_key_from_random, public_key_of

    private = private_key_from_random(os.urandom(KEY_SIZE))
    keys = {"private_key": encode_key(private), "public_key": encode_key(public_key_of(private))}
    if file is not None:
        _write(file, keys.pop("private_key"))
    if output == "json":
        emit(keys)
    else:
        for name, key in keys.items():
            click.echo(f"{name}: {key}")


def _write(file: Path, key: str) -> None:
    doing = f"writing {file}"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise InTheWayError(doing, "it exists", hint="A key that is in use is not overwritten.") from None
    except OSError as error:
        raise LtkError(doing, str(error.strerror)) from error
    with os.fdopen(descriptor, "w") as opened:
        opened.write(f"{key}\n")
