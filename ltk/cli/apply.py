"""`ltk apply`: make the machine be as the file says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ltk.cli import here, rootless
from ltk.cli.awaited import Guarded
from ltk.cli.changes import Progress, as_json, count
from ltk.cli.common import emit, output_option, say, text_of, topology_argument, yes_option
from ltk.errors import BusyError, InvalidInputError

if TYPE_CHECKING:
    from ltk.reconcile.saved import SavedPlan
    from ltk.topology.text import Text


@click.command("apply", epilog="Example:  ltk apply topologies/quickstart.yaml")
@topology_argument
@click.option("--node", metavar="NODE", help="Be this node, on this machine itself; its lab does not count.")
@click.option("--no-start", is_flag=True, help="With --node: all but the daemon, for whoever starts that.")
@click.option("--only", metavar="NODE,…", help="Look at these nodes alone, and leave the rest as it is.")
@click.option("--adopt", is_flag=True, help="Take over what somebody else made and is in the way.")
@click.option(
    "--confirm",
    "within",
    metavar="TIME",
    envvar="LTK_CONFIRM",
    help="Undo it after TIME, such as 60s, unless `ltk confirm` comes first; auto: the file's checks decide.",
)
@click.option("--hosts", is_flag=True, help="Have Ansible do it on each of its machines, over SSH.")
@click.option("--package", metavar="FILE", help="With --hosts: install this where ltk is missing.")
@yes_option
@output_option
def command(
    topology: str,
    node: str | None,
    no_start: bool,
    only: str | None,
    adopt: bool,
    within: str | None,
    hosts: bool,
    package: str | None,
    output: str,
) -> None:
    """Converge: create what is missing, change what differs, remove what is not wanted any more.

    A second run finds nothing to do and writes nothing. The result is looked at again before this says that
    it is done; where it is not as wanted, or something has failed, all is put back as it was, and the exit
    status is 5.

    TOPOLOGY may be a plan that `ltk plan --save` has written: then exactly that is done, or nothing, with
    status 2, where something has changed since.

    A topology without a lab is one of real hosts, and each brings up itself: the node that it is, by
    default the one that bears the host's name.
    """
    from dataclasses import asdict

    if hosts or package is not None:
        from ltk.cli import fleet

        fleet.refuse(topology, hosts=hosts, within=within)
        fleet.apply(topology, only, package, output)
        return
    begin = time.monotonic()
    text = text_of(topology)
    plan = _saved(text)
    if plan is not None:
        if only is not None or adopt:
            hint = f"Leave {'--only' if only is not None else '--adopt'} out, or apply the topology itself."
            raise InvalidInputError(f"applying the plan {plan.file}", "it is carried out whole", hint=hint)
        text = plan.wanted
    wanted = here.on_this_machine(text, node)
    places = tuple(word.strip() for word in only.split(",")) if only else ()
    names = [node.name for node in wanted.nodes]
    for place in places:
        if place not in names:
            hint = f"There are: {', '.join(names)}. Several are written as {','.join(names[:2])}"
            raise InvalidInputError(
                f"applying {wanted.name}", f"--only: there is no node {place!r}", hint=hint
            )
    rootless.refuse_real_host(wanted)
    from ltk.reconcile.apply import converge, preview  # only now: what is refused is refused at once
    from ltk.reconcile.remembered import remember

    if wanted.here is not None:
        here.ask_before_removing(
            f"applying {wanted.name}",
            lambda: [each for each in preview(wanted, adopting=adopt) if each.action == "remove"],
        )
    guarded = None if within is None else Guarded(wanted, within)
    progress = Progress(f"applying {wanted.name}")
    try:
        outcome = converge(
            wanted,
            progress,
            places,
            adopting=adopt,
            agreed=None if plan is None else plan.agree,
            awaiting=None if guarded is None else guarded.awaiting,
            start=not no_start,
            at_end=lambda: remember(text, wanted),
        )
    except BusyError as error:
        if not no_start:
            raise
        # most likely it is an apply that has the daemon started, and does itself what there is to do
        say(f"left to another: {error}")
        click.get_current_context().exit(error.exit_status)
    finally:
        progress.end()
    for note in outcome.notes:
        say(note)
    awaited = guarded.settle(outcome.operations) if guarded is not None else {}
    if output == "json":
        changes = as_json(outcome.operations)
        about = here.told(wanted) | awaited
        emit({"topology": wanted.name, **about, "changes": changes, "writes": asdict(outcome.writes)})
        return
    if outcome.operations:
        say(f"{wanted.name} is up: {count(outcome.operations)} in {time.monotonic() - begin:.1f} s")
        say(f"  look:  ltk status {wanted.name}      remove:  ltk destroy {wanted.name}")
    else:
        say(f"{wanted.name} is up: nothing to do")
    here.tell(wanted)
    if seconds := awaited.get("confirm_within_s"):
        say(f"  it is undone in {seconds:g} s, unless this comes first:  ltk confirm {wanted.name}")


def _saved(text: Text) -> SavedPlan | None:
    """The plan that the text is, where it is one."""
    if not text.data.lstrip().startswith(b"{"):  # what reads plans takes its time to import
        return None
    from ltk.reconcile import saved

    return saved.read(text) if saved.is_plan(text.data) else None
