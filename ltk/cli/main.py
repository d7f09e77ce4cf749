"""`ltk`: the table of verbs, and the one place where errors become words and exit statuses.

Nothing heavy is imported here: a verb's module is imported when the verb runs, so that
`ltk --help` and completion answer at once.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any

import click

from ltk import __version__
from ltk.errors import InvalidInputError, LtkError, MissingError

VERBS = {
    "validate": "Check a topology file; show all of its errors at once.",
    "plan": "Show what apply would change, and why.",
    "apply": "Make the machine be as the file says.",
    "confirm": "Keep a change that would be undone, or give it more time.",
    "destroy": "Remove all that bears a topology's mark.",
    "gc": "Remove what crashed runs have left behind.",
    "status": "Nodes, peers and paths of a topology that is up.",
    "watch": "What is changed by others as it happens, and put right.",
    "why": "Each way between two nodes, and why it is the path or not.",
    "metrics": "What the daemons count, for Prometheus.",
    "test": "Bring a topology up, run its checks, take it down.",
    "exec": "Run a command inside a node.",
    "shell": "Open a shell inside a node.",
    "capture": "Packets of a lab, live or into a file.",
    "ping": "Who reaches whom, and how fast.",
    "fault": "Break a lab that is up on purpose, and mend it.",
    "nat": "What the routers of a lab really do, by probing them.",
    "graph": "A picture of a topology, with its live paths.",
    "render": "Print a topology with every default spelled out.",
    "schema": "Print the JSON Schema of topology files.",
    "keygen": "Make a key pair.",
    "doctor": "What this machine lacks, and how to get it.",
    "serve": "The server of a network from one shared secret.",
    "join": "Be a client of a network from one shared secret.",
    "node": "Run one node's daemon.",
}
BRIEF = {"apply", "destroy", "gc", "plan", "status", "validate"}  # make much, and end before it is garbage
COLLECT_AFTER = 100_000  # objects; as seldom as that, the collector takes a tenth less of a large lab's look
RESUMED = {"apply", "destroy", "gc"}  # what they had done when they were interrupted stays done
INTERRUPTED = 130  # as shells report SIGINT
COMPLETING = "_LTK_COMPLETE"  # set by the shell where it wants the words that could follow


class Standing(click.Context):
    """Of a verb: an ordinary user's moves into their own namespaces between its arguments and its work."""

    def invoke(self, callback: Any, /, *args: Any, **kwargs: Any) -> Any:
        if os.geteuid() != 0:
            from ltk.cli import rootless

            rootless.stand(self)
        return super().invoke(callback, *args, **kwargs)


class Verbs(click.Group):
    """A group whose commands live in `ltk.cli.<verb>`, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None

        found = importlib.import_module(f"ltk.cli.{cmd_name}").command
        assert isinstance(found, click.Command)
        found.context_class = Standing
        if not any("--yes" in parameter.opts for parameter in found.params):
            found.params.append(click.Option(["--yes"], is_flag=True, expose_value=False, hidden=True))
        for parameter in found.params:
            if isinstance(parameter, click.Option) and parameter.envvar is None and parameter.name:
                parameter.envvar = f"LTK_{parameter.name.upper()}"
                parameter.show_envvar = True
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the verb that was meant where one is misspelt."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            meant = get_close_matches(args[0], VERBS, n=1)
            if not meant:
                raise
            raise click.UsageError(f"{error.message} Did you mean {meant[0]!r}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with:  ltk apply topologies/quickstart.yaml",
)
@click.version_option(__version__, prog_name="ltk")
def cli() -> None:
    """Private networks from one YAML file, and the NATs to try them behind."""


def main() -> None:
    """Run the command line and exit with a status of the documented table."""
    if set(sys.argv[1:2]) & BRIEF:
        gc.set_threshold(COLLECT_AFTER)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run `ltk` with `arguments`; returns the exit status and never lets a traceback out."""
    try:
        if COMPLETING in os.environ and os.geteuid() != 0:
            from ltk.cli import rootless

            rootless.look_in()
        status = cli.main(arguments, prog_name="ltk", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return InvalidInputError.exit_status
    except (KeyboardInterrupt, click.Abort):
        goes_on = bool(set(arguments[:1]) & RESUMED)
        click.echo(f"interrupted{'; the same command goes on from here' if goes_on else ''}", err=True)
        return INTERRUPTED
    except LtkError as error:
        complain(error)
        return error.exit_status
    except BrokenPipeError:
        # the reader of our output has gone; the interpreter must not complain about it once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return LtkError.exit_status
    except PermissionError as error:
        complain(MissingError(f"using {error.filename}", str(error.strerror), hint="Run it as root."))
        return MissingError.exit_status
    except OSError as error:
        from ltk.reconcile.files import in_words

        complain(in_words(error))
        return LtkError.exit_status
    return status if isinstance(status, int) else 0


def complain(error: LtkError) -> None:
    """Print `error` and what to do about it on standard error."""
    from_a_file = error.exit_status == InvalidInputError.exit_status and "\n" in str(error)
    # problems of a file come as file:line:column, each on lines of its own, for editors to jump to
    word = "" if from_a_file else f"{click.style('error:', fg='red', bold=True)} "
    click.echo(f"{word}{error}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)
