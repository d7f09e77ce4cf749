"""What the verbs share: arguments, output and the way from a word on the command line to a topology."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from ltk.errors import InvalidInputError, LtkError
from ltk.kernel import paths

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ltk.topology.expanded import Topology
    from ltk.topology.text import Text

F = TypeVar("F", bound=Callable[..., Any])
JSON_VERSION = 1
YES = "ltk.yes"  # in click's context: whether the answer to every question has been given
PIPE_WIDTH = 2000  # columns; what a matrix of some hundred nodes needs


def _complete_topology(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    names = [CompletionItem(name) for name in topologies_up() if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]


def _complete_node(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(config.stem)
        for config in paths.node_configs(str(ctx.params.get("topology", "")))
        if config.stem.startswith(incomplete)
    ]


def topology_argument(function: F) -> F:
    """A file, `-` for standard input, or the name of a topology that is up."""
    return click.argument("topology", shell_complete=_complete_topology)(function)


def file_argument(function: F) -> F:
    """A topology file, or `-` for standard input."""
    return click.argument("file", type=click.Path(path_type=str, allow_dash=True))(function)


def node_argument(name: str, **keywords: Any) -> Callable[[F], F]:
    """The name of a node of the topology."""
    return click.argument(name, shell_complete=_complete_node, **keywords)


def output_option(function: F) -> F:
    """`-o json`: data for programs on standard output."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="How to print the result.",
    )(function)


def yes_option(function: F) -> F:
    """`--yes`: accepted everywhere, so that scripts need not know who asks.

    A lab is ltk's own from end to end, so nothing is asked about it and the answer goes nowhere; of real
    hosts `ltk.cli.here` asks.
    """
    return click.option("--yes", is_flag=True, expose_value=False, callback=_answered, help="Do not ask.")(
        function
    )


def _answered(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.meta[YES] = value


def emit(data: dict[str, Any]) -> None:
    """Print `data` as one JSON document on standard output, with the version of its form."""
    click.echo(json.dumps({"version": JSON_VERSION, **data}, indent=2))


def show(renderable: RenderableType) -> None:
    """Print a table or the like; in a pipe it is as wide as it needs to be, and without colours or frame."""
    console = console_for(renderable)
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as captured:
        console.print(renderable)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    click.echo("\n".join(lines).strip("\n"))


def console_for(renderable: RenderableType) -> Console:
    """Where `renderable` is printed: as wide as the terminal, but never so narrow that words are cut short.

    What is wider then is for the terminal to wrap, so that an address is still all there.
    """
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    if not console.is_terminal:
        return Console(width=PIPE_WIDTH)
    least = Measurement.get(console, console.options.update(max_width=PIPE_WIDTH), renderable).minimum
    return Console(width=least) if least > console.width else console


def unwritable(file: str | Path, error: OSError) -> LtkError:
    """What to tell of a file that a person named and that cannot be written."""
    from ltk.reconcile.files import hint_for

    hint = hint_for(error)
    if isinstance(error, FileNotFoundError):
        hint = f"Make its folder first: mkdir -p {Path(file).parent}"
    return LtkError(f"writing {file}", str(error.strerror), hint=hint)


def say(message: str) -> None:
    """Tell the person something; never on standard output, which belongs to data."""
    click.echo(message, err=True)


def topologies_up() -> list[str]:
    """Names of the topologies that are up, or of which this machine is a node, sorted."""
    found = set()
    for parent in (paths.RUN, paths.STATE):
        if parent.is_dir():
            found |= {folder.name for folder in parent.iterdir() if (folder / "topology.yaml").is_file()}
    return sorted(found)


def load(topology: str) -> Topology:
    """The topology behind a file's path, `-`, or the name of one that is up.

    Where this machine is a node of it, as that sees it. Raises InvalidInputError for a word that is none
    of them.
    """
    return expanded(text_of(topology))


def text_of(topology: str) -> Text:
    """The text behind a file's path, `-`, or the name of a topology that is up; else as `load`."""
    from ltk.topology.text import read_text

    if topology == "-" or Path(topology).is_file():
        return read_text(topology)
    if topology in topologies_up():
        applied = paths.applied(topology)
        return read_text(str(applied if applied.is_file() else paths.wanted_here(topology)))
    if Path(topology).exists() or "/" in topology or topology.endswith((".yaml", ".yml")):
        return read_text(topology)
    up = ", ".join(topologies_up()) or "none"
    raise InvalidInputError(
        f"looking for the topology {topology}",
        "it is neither a file nor the name of a topology that is up",
        hint=f"Up are: {up}. Bring it up with: ltk apply FILE",
    )


def name_of(topology: str) -> str:
    """The name of a topology, or that of the one in a file; a name need not be that of one that is up."""
    if topology == "-" or "/" in topology or topology.endswith((".yaml", ".yml")) or Path(topology).is_file():
        return load(topology).name
    return topology


def expanded(text: Text, node: str | None = None, otherwise: str | None = None) -> Topology:
    """What a text says, checked and with nothing left implicit; raises InvalidTopologyError.

    `node` is the one that this machine is to be; without it the one that it is, if any, and of a topology
    without a lab the one called `otherwise`.
    """
    from ltk.reconcile.here import node_of
    from ltk.reconcile.remembered import recall

    if (known := recall(text)) is not None and known.here == (node or node_of(known.name)):
        return known
    from ltk.topology.load import parse_topology  # only now: it takes longer than all the rest

    return parse_topology(
        text.data,
        file=text.file,
        folder=text.folder,
        choose_here=lambda name, has_lab: node or node_of(name) or (None if has_lab else otherwise),
    )
