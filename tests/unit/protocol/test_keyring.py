"""Three sessions, and which of them is used."""

from __future__ import annotations

import pytest

from ltk.protocol.keyring import Keyring
from ltk.protocol.noise import TransportKeys
from ltk.protocol.session import Session

KEYS = TransportKeys(b"1" * 32, b"2" * 32)


def session(created: float, *, initiator: bool, heard: bool = False) -> Session:
    made = Session(int(created * 1000), 0, KEYS, initiator=initiator, created=created)
    made.heard = heard
    return made


def test_the_initiator_uses_a_new_session_at_once_and_keeps_the_old_one():
    ring = Keyring(own_wins=True)
    sessions = [session(120.0 * n, initiator=True) for n in range(3)]
    assert ring.install_initiated(sessions[0]) == []
    assert ring.install_initiated(sessions[1]) == []
    assert (ring.previous, ring.current) == (sessions[0], sessions[1])
    assert ring.install_initiated(sessions[2]) == [sessions[0]]
    assert len(ring) == 2


def test_the_responder_uses_a_new_session_when_the_peer_has():
    ring = Keyring(own_wins=True)
    old, new = session(0.0, initiator=False), session(120.0, initiator=False)
    ring.install_responded(old)
    assert ring.current is None
    assert ring.confirm_next() == []
    ring.install_responded(new)
    assert (ring.current, ring.next) == (old, new)
    assert ring.confirm_next() == []
    assert (ring.previous, ring.current, ring.next) == (old, new, None)


def test_an_answer_that_was_never_used_gives_way_to_the_next():
    ring = Keyring(own_wins=True)
    lost, retried = session(0.0, initiator=False), session(5.2, initiator=False)
    ring.install_responded(lost)
    assert ring.install_responded(retried) == [lost]


@pytest.mark.parametrize("responded_first", [True, False])
@pytest.mark.parametrize("own_wins", [True, False])
def test_after_a_crossing_all_three_sessions_live_and_one_side_gives_way(own_wins, responded_first):
    ring = Keyring(own_wins=own_wins)
    old = session(0.0, initiator=True, heard=True)
    ring.install_initiated(old)
    initiated = session(120.02, initiator=True)
    responded = session(120.01 if responded_first else 120.03, initiator=False)
    steps = [lambda: ring.install_responded(responded), lambda: ring.install_initiated(initiated)]
    for step in steps if responded_first else reversed(steps):
        assert step() == []
    assert ring.confirm_next() == []
    assert set(ring) == {old, initiated, responded}
    assert ring.current is (initiated if own_wins else responded)


def test_a_peer_that_restarts_right_after_a_handshake_is_followed():
    ring = Keyring(own_wins=True)
    dead = session(0.0, initiator=True, heard=True)
    ring.install_initiated(dead)
    reborn = session(1.0, initiator=False)
    ring.install_responded(reborn)
    ring.confirm_next()
    assert ring.current is reborn


def test_clearing_returns_all_that_there_was():
    ring = Keyring(own_wins=True)
    sessions = {session(0.0, initiator=True), session(130.0, initiator=True)}
    for each in sorted(sessions, key=lambda s: s.created):
        ring.install_initiated(each)
    assert set(ring.clear()) == sessions
    assert len(ring) == 0
