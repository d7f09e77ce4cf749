"""What the daemons say of a path: it is compared with what the network has shown, and never believed."""

from __future__ import annotations

from typing import Any

from ltk.errors import LtkError
from ltk.kernel import paths
from ltk.node.control import ask

ANSWER_DEADLINE = 2.0  # seconds


def told_paths(topology: str, one: str, other: str) -> tuple[str, str]:
    """The path that each of two clients says it has to the other; what is wrong, where one does not say."""
    return _told(topology, one, other), _told(topology, other, one)


def _told(topology: str, node: str, peer: str) -> str:
    try:
        answer: Any = ask(paths.control_socket(topology, node), {"do": "status"}, ANSWER_DEADLINE)
    except LtkError as error:
        return f"nothing ({error.problem})"
    return next((str(each["path"]) for each in answer["peers"] if each["name"] == peer), "nothing of it")
