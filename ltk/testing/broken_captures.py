"""Captures, broken: they show something else than what has passed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from ltk.capture.keys import NodeKeys
from ltk.capture.lines import Ended
from ltk.capture.record import Captured, InOrder
from ltk.node import control
from ltk.testing.breaking import mutant, replace


@mutant("capture-as-it-was-read")
def _as_it_was_read() -> None:
    """Packets are shown as their queues are read, one device after the other."""
    take = InOrder.until

    def all_there_are(held: InOrder, _horizon: float) -> list[Captured]:
        return take(held, math.inf)

    replace(InOrder, "until", all_there_are)


@mutant("capture-silent-about-misses")
def _silent_about_misses() -> None:
    """Packets for which there was no room are as if they had not been."""
    say = Ended.sentences

    def as_if_whole(ended: Ended) -> Sequence[str]:
        return say(dataclasses.replace(ended, dropped={}))

    replace(Ended, "sentences", as_if_whole)


@mutant("keys-for-anybody")
def _keys_for_anybody() -> None:
    """Whoever gets at the control socket is told the keys of sessions."""
    replace(control, "is_own_user", lambda _client: True)


@mutant("capture-without-new-keys")
def _capture_without_new_keys() -> None:
    """What a daemon has told at the start is all that a capture knows."""
    replace(NodeKeys, "look_for", lambda _keys, _index: None)
