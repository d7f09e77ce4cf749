"""What the reconciler has to do with the process of a lab's wires: hear what it carries, tell it what to."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from typing import Any

from ltk.errors import LtkError
from ltk.kernel import netns, paths
from ltk.lab.conditions import Span, Tap, from_json, to_json
from ltk.node.control import ask
from ltk.reconcile.files import write_private
from ltk.reconcile.resources import Conditions
from ltk.supervise import client as supervisor

ANSWER_DEADLINE = 2.0  # seconds; a process that needs longer carries nothing for us


def in_force(topology: str) -> dict[tuple[Tap, Tap], Conditions]:
    """The conditions of the wires that are carried now; those of no others are known."""
    if not paths.wires_config(topology).exists():
        return {}
    try:
        answer: dict[str, Any] = ask(paths.wires_socket(topology), {"do": "status"}, ANSWER_DEADLINE)
    except LtkError:
        return {}
    carried = [wire for wire in answer["wires"] if wire["carried"]]
    spans = from_json(to_json(()) | {"wires": carried}, "reading what is carried")
    return {span.ends: span.conditions for span in spans}


def stored(topology: str) -> tuple[Span, ...]:
    """The wires that the process was told last to carry; none where that cannot be read any more."""
    path = paths.wires_config(topology)
    try:
        return from_json(json.loads(path.read_text()), f"reading {path}")
    except (OSError, ValueError, LtkError):
        return ()


def is_there(span: Span) -> bool:
    """Whether both devices of the wire exist."""
    return all(netns.is_namespace(tap.scope) and _has_device(tap) for tap in span.ends)


def _has_device(tap: Tap) -> bool:
    with netns.inside(tap.scope):
        return tap.device in (name for _, name in socket.if_nameindex())


def carry(topology: str, spans: Iterable[Span]) -> None:
    """Have the process carry exactly these wires; it is started where it does not run, ended with the last.

    A wire that it carries already keeps its devices and what is on its way.
    """
    document = to_json(sorted(spans, key=lambda span: span.ends))
    running = supervisor.is_running(topology)
    if not document["wires"]:
        if running:
            supervisor.stop_node(topology, paths.WIRES)
        for path in (paths.wires_config, paths.wires_log, paths.wires_socket):
            path(topology).unlink(missing_ok=True)
        return
    write_private(paths.wires_config(topology), json.dumps(document, indent=2) + "\n")
    supervisor.ensure_running(topology)
    supervisor.start_wires(topology)
    request = {"do": "configure", "config": document}
    ask(paths.wires_socket(topology), request, ANSWER_DEADLINE)
