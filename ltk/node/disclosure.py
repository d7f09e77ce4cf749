"""The keys of a daemon's sessions, for `ltk capture --decrypt`, over the control socket and nowhere else.

They are asked for by that verb alone and answered to the daemon's own user alone, who could read them in its
memory as well. Neither side logs them or writes them to a file; with the session they are forgotten.

    answer    {"sessions": [{"peer": NAME, "index": N, "receiver": N, "send": KEY, "receive": KEY}, ...]}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ltk.errors import LtkError
from ltk.node.config import decode_key, encode_key
from ltk.node.control import Request, ask
from ltk.protocol.session import SessionKeys

REQUEST: Request = {"do": "session-keys"}
GUARDED = frozenset({"session-keys"})  # requests that only the daemon's own user may make
PATIENCE = 5.0  # seconds for an answer


def disclosed(keys: Sequence[SessionKeys]) -> dict[str, object]:
    """The answer to REQUEST."""
    return {
        "sessions": [
            {
                "peer": each.peer,
                "index": each.index,
                "receiver": each.receiver,
                "send": encode_key(each.send),
                "receive": encode_key(each.receive),
            }
            for each in keys
        ]
    }


def ask_for_keys(socket: Path) -> list[SessionKeys]:
    """Ask the daemon that listens on `socket` for the keys of its sessions. Raises LtkError as `ask` does."""
    sessions = ask(socket, REQUEST, PATIENCE).get("sessions")
    if not isinstance(sessions, list):
        raise LtkError(f"asking the process at {socket} for keys", "what it answered is none")
    return [_read(each) for each in sessions]


def _read(told: Mapping[str, object]) -> SessionKeys:
    match told:
        case {
            "peer": str(peer),
            "index": int(index),
            "receiver": int(receiver),
            "send": str(send),
            "receive": str(receive),
        }:
            return SessionKeys(peer, index, receiver, decode_key(send), decode_key(receive))
    raise LtkError("reading a daemon's session keys", "what it answered has another form")
