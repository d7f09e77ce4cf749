"""Timers against the clock: never late, and rarely early."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ltk.protocol.timers import Timer, TimerQueue, Timers


class Owner:
    """A peer that notes what fired."""

    def __init__(self, queue: TimerQueue) -> None:
        self.fired: list[tuple[Timer, float]] = []
        self.timers = Timers(queue, lambda timer, now: self.fired.append((timer, now)))


def test_nothing_armed_is_nothing_due():
    queue = TimerQueue()
    Owner(queue)
    assert queue.next_timeout() is None
    queue.expire(1e9)


def test_a_timer_fires_once_at_its_deadline():
    queue = TimerQueue()
    owner = Owner(queue)
    owner.timers.arm(Timer.OWE_KEEPALIVE, 10.0)
    assert queue.next_timeout() == 10.0
    queue.expire(9.999)
    assert owner.fired == []
    queue.expire(10.0)
    queue.expire(11.0)
    assert owner.fired == [(Timer.OWE_KEEPALIVE, 10.0)]
    assert queue.next_timeout() is None


def test_a_deadline_that_moved_later_wakes_the_peer_for_nothing_and_then_on_time():
    queue = TimerQueue()
    owner = Owner(queue)
    owner.timers.arm(Timer.SUSPECT_PEER, 10.0)
    owner.timers.arm(Timer.SUSPECT_PEER, 25.0)
    queue.expire(10.0)
    assert owner.fired == []
    assert queue.next_timeout() == 25.0


def test_moving_a_deadline_later_leaves_the_queue_alone():
    queue = TimerQueue()
    owner = Owner(queue)
    for moment in range(10_000):
        owner.timers.arm(Timer.PERSISTENT_KEEPALIVE, moment + 20.0)
    assert len(queue._heap) == 1


def test_what_is_due_fires_earliest_first_and_a_fired_timer_can_call_off_the_next():
    queue = TimerQueue()
    fired: list[Timer] = []

    def fire(timer: Timer, now: float) -> None:
        fired.append(timer)
        timers.disarm(Timer.RETRY_HANDSHAKE)

    timers = Timers(queue, fire)
    timers.arm(Timer.RETRY_HANDSHAKE, 3.0)
    timers.arm(Timer.ERASE_SESSIONS, 2.0)
    timers.arm(Timer.REPEAT_HELLO, 1.0)
    queue.expire(5.0)
    assert fired == [Timer.REPEAT_HELLO, Timer.ERASE_SESSIONS]


def test_disarming_all_leaves_nothing_due():
    queue = TimerQueue()
    owner = Owner(queue)
    for timer in Timer:
        owner.timers.arm(timer, 1.0)
    owner.timers.disarm_all()
    assert queue.next_timeout() is None
    queue.expire(2.0)
    assert owner.fired == []


OPERATIONS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(Timer), st.one_of(st.none(), st.floats(0, 50)), st.floats(0, 5)
    ),
    max_size=60,
)


@given(OPERATIONS)
def test_timers_agree_with_a_plain_table_of_deadlines(operations):
    queue = TimerQueue()
    owners = [Owner(queue) for _ in range(3)]
    table: dict[tuple[int, Timer], float] = {}
    now = 0.0
    for number, timer, delay, passes in operations:
        if delay is None:
            owners[number].timers.disarm(timer)
            table.pop((number, timer), None)
        else:
            owners[number].timers.arm(timer, now + delay)
            table[number, timer] = now + delay
        timeout = queue.next_timeout()
        assert not table or (timeout is not None and timeout <= min(table.values()))
        now += passes
        queue.expire(now)
        due = {key for key, deadline in table.items() if deadline <= now}
        for index, owner in enumerate(owners):
            assert sorted(t for t, _ in owner.fired) == sorted(t for n, t in due if n == index)
            owner.fired.clear()
        for key in due:
            del table[key]
