"""What a run is about to change, as it was before: enough to put it back, whoever does that and whenever.

An undo is no list of steps. What was there is put in the place of what the run has touched, and the plan
from what is there now to that is carried out like any other. So it does not matter how far the run had
come, nor whether what had failed was half done: it is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ltk.kernel import nft, paths
from ltk.kernel.messages import Request
from ltk.lab.sites import every_setting
from ltk.reconcile import rules, secrets
from ltk.reconcile.kept_faults import InForce
from ltk.reconcile.observe import present_settings
from ltk.reconcile.plan import Operation
from ltk.reconcile.resources import (
    Bridge,
    Cable,
    Conditions,
    Daemon,
    Key,
    Namespace,
    Resource,
    Ruleset,
    Secret,
    State,
    Stray,
    Tun,
    Wire,
)
from ltk.reconcile.stored_resources import from_json, to_json

Files = dict[str, str | None]
KEPT = "kept/"  # how the names of files begin that a real host keeps over a boot


@dataclass(frozen=True, slots=True)
class Undo:
    """What a run touches (`touched`), and what of that was there before (`was`), whole.

    `files` are those that say what is wanted, by their names in `places`; None: there was none.
    `faults` are those in force that stand in the network and at the supervisor.
    """

    touched: frozenset[Key]
    was: tuple[Resource, ...]
    files: Files
    faults: tuple[InForce, ...]
    supervised: bool  # whether there was a supervisor
    nothing: bool  # whether nothing of the topology was there at all
    returns: tuple[
        Request, ...
    ] = ()  # what makes things of this machine's own be as before they were taken over

    def to_json(self) -> dict[str, Any]:
        """What `undo_from_json` reads back."""
        return {
            "touched": sorted(self.touched),
            "was": [to_json(each) for each in self.was],
            "files": self.files,
            "faults": [each.to_json() for each in self.faults],
            "supervised": self.supervised,
            "nothing": self.nothing,
            "returns": [_request_to_json(each) for each in self.returns],
        }


def undo_from_json(value: Mapping[str, Any]) -> Undo:
    """Read back an undo; raises ValueError, KeyError or TypeError for what is none."""
    return Undo(
        touched=frozenset((str(kind), str(scope), str(name)) for kind, scope, name in value["touched"]),
        was=tuple(from_json(each) for each in value["was"]),
        files={str(name): None if text is None else str(text) for name, text in value["files"].items()},
        faults=tuple(InForce(int(e["number"]), str(e["fault"]), bool(e["stated"])) for e in value["faults"]),
        supervised=bool(value["supervised"]),
        nothing=bool(value["nothing"]),
        returns=tuple(_request_from_json(each) for each in value.get("returns", ())),
    )


def _request_to_json(request: Request) -> dict[str, Any]:
    return {**asdict(request), "body": request.body.hex()}


def _request_from_json(value: Mapping[str, Any]) -> Request:
    tolerated = tuple(int(each) for each in value["tolerated"])
    body = bytes.fromhex(value["body"])
    return Request(str(value["doing"]), body, int(value["kind"]), int(value["flags"]), tolerated)


def touched_by(operations: Iterable[Operation], have: State, want: State) -> frozenset[Key]:
    """All that `operations` change, and all of `have` that goes with what they remove."""
    return frozenset(each.resource.key for each in operations) | (have.keys() - want.keys())


def whole(resources: Sequence[Resource]) -> tuple[Resource, ...]:
    """The same with what an observation leaves out: texts of rules, values of secrets, settings.

    Looks at the machine; the resources have to be there still.
    """
    rulesets = [each for each in resources if isinstance(each, Ruleset)]
    tables: dict[tuple[str, str], str] = {}
    for table in sorted({each.table for each in rulesets}):
        scopes_of = [each.scope for each in rulesets if each.table == table]
        texts = nft.listed(scopes_of, rules.FAMILY, table)
        tables |= {(scope, table): text for scope, text in texts.items()}
    found: list[Resource] = []
    for each in resources:
        match each:
            case Ruleset(scope=scope, table=table):
                found.append(replace(each, text=rules.removal(table) + tables[scope, table]))
            case Secret(path=path):
                found.append(secrets.with_value(Path(path)))
            case _:
                found.append(each)
    # Nobody owns settings, so that nothing of the plan names those that go with their namespace.
    known = {each.key for each in resources}
    scopes = {each.scope for each in resources if isinstance(each, Namespace)}
    settings = present_settings((setting for scope in scopes for setting in every_setting(scope)), scopes)
    return (*found, *(each for each in settings if each.key not in known))


def aim(undo: Undo, now: State) -> State:
    """The state to go back to from `now`: what was touched is as it was, and everything else as it is.

    What was broken is not broken again: a daemon that did not run may run, with its old configuration,
    and what a killed run had left half made stays away. So does what stands in the place of something that
    comes back: the near end of a cable whose far end went with its namespace, which the kernel takes away
    some time later.
    """
    places = {place for each in undo.was for place in _devices(each)}
    state = {
        key: resource
        for key, resource in now.items()
        if key not in undo.touched
        and not (isinstance(resource, Stray) and (resource.scope, resource.device) in places)
    }
    for resource in undo.was:
        found = now.get(resource.key)
        match resource:
            case Stray():
                continue
            case Daemon(running=False) if isinstance(found, Daemon):
                resource = replace(found, config=resource.config)
            case Daemon():
                attached = found.attached if isinstance(found, Daemon) else True
                resource = replace(resource, running=True, attached=attached)
            case Wire(conditions=None):
                known = found.conditions if isinstance(found, Wire) else None
                resource = replace(resource, conditions=known or Conditions(), carried=True)
        state[resource.key] = resource
    return state


def _devices(resource: Resource) -> list[tuple[str, str]]:
    """The devices, each with its namespace, that a half-made one would keep from being made again."""
    match resource:
        case Cable(a=a, b=b):
            return [(end.scope, end.device) for end in (a, b)]
        case Tun(scope=scope, device=device) | Bridge(scope=scope, device=device):
            return [(scope, device)]
        case _:
            return []


def wanted_files(topology: str) -> Files:
    """The files that say what is wanted of a topology, as they are now."""
    found: Files = {}
    for name, path in places(topology).items():
        try:
            found[name] = path.read_text()
        except (OSError, ValueError):
            found[name] = None
    return found


def places(topology: str) -> dict[str, Path]:
    """Where an undo's files are: in the run-time folder, and where a real host keeps them over a boot."""
    run = (paths.applied(topology), paths.expanded(topology), paths.kept_faults(topology))
    kept = (paths.wanted_here(topology), paths.here(topology))
    return {path.name: path for path in run} | {f"{KEPT}{path.name}": path for path in kept}
