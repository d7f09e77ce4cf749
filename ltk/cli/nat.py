"""`ltk nat`: what the routers of a lab really do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ltk.cli.common import emit, load, node_argument, output_option, show, topology_argument
from ltk.cli.exec import scope_that_is_up
from ltk.errors import InvalidInputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ltk.lab.prove import Verdict

DIFFERENT = 2
COLUMNS = ("mapping", "filtering", "hairpin", "ports", "unsolicited", "udp")


@click.command("nat", epilog="Example:  ltk nat quickstart home")
@topology_argument
@node_argument("site", required=False)
@output_option
def command(topology: str, site: str | None, output: str) -> int:
    """Find out by probing what the router of SITE, or of every site, does, and compare it with the file.

    Probes go from inside to two addresses with two ports each outside, and back. Exits with 2 where a
    router does something else than the file says.
    """
    from ltk.lab.prove import prove
    from ltk.reconcile.apply import locked
    from ltk.reconcile.kept_faults import with_faults

    wanted = with_faults(load(topology))
    doing = f"probing the routers of {wanted.name}"
    if wanted.lab is None:
        raise InvalidInputError(doing, "it has no lab", hint="Only a lab's routers can be probed.")
    names = [each.name for each in wanted.lab.sites]
    if site is not None and site not in names:
        hint = f"There are: {', '.join(names)}"
        raise InvalidInputError(f"looking for {site} in {wanted.name}", "there is no such site", hint=hint)
    sites = [each for each in wanted.lab.sites if site in (None, each.name)]
    for each in sites:
        scope_that_is_up(topology, each.name)
    with locked(wanted.name, doing):  # nobody changes a router while it is probed
        verdicts = prove(wanted.name, wanted.lab, sites)
    if output == "json":
        emit({"topology": wanted.name, "sites": [_as_json(each) for each in verdicts]})
    else:
        show(_table(verdicts))
    return DIFFERENT if any(each.differs for each in verdicts) else 0


def _as_json(verdict: Verdict) -> dict[str, object]:
    return {
        "name": verdict.site,
        "declared": verdict.declared.to_json(),
        "found": verdict.found.to_json() if verdict.found else None,
        "differs": list(verdict.differs),
    }


def _table(verdicts: list[Verdict]) -> RenderableType:
    from ltk.cli.fitting import Fitting

    rows = []
    for verdict in verdicts:
        differs = ", ".join(f"{key} should be {_word(verdict, key)}" for key in verdict.differs)
        answer = "nobody is there to probe it" if verdict.found is None else differs or "yes"
        found = (_text(getattr(verdict.found, key, None)) for key in COLUMNS)
        rows.append([verdict.site, *found, answer])
    return Fitting(("site", *COLUMNS, "as declared"), rows)


def _word(verdict: Verdict, key: str) -> str:
    return _text(getattr(verdict.declared, key))


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
    return str(value)
