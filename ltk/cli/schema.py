"""`ltk schema`: what editors need to complete and check topology files."""

from __future__ import annotations

import json

import click

from ltk.cli.common import output_option


@click.command(epilog="Example:  ltk schema > topology.schema.json")
@output_option
def command(output: str) -> None:
    """Print the JSON Schema of topology files; with -o json on a single line."""
    from ltk.topology.model import json_schema

    click.echo(json.dumps(json_schema(), indent=2 if output == "text" else None, ensure_ascii=False))
