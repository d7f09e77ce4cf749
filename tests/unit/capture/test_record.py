"""Packets of several devices come in the order of the kernel's clock, and all of them are accounted for."""

from __future__ import annotations

import io
import os
import signal
import time
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import echo, udp
from scapy.utils import RawPcapNgReader

from ltk.capture import record
from ltk.capture.dissect import dissect
from ltk.capture.expression import parse
from ltk.capture.lines import Ended, line
from ltk.capture.record import Captured, InOrder, Stop, Tap, follow
from ltk.capture.recording import Recording
from ltk.kernel.packets import Link, Packet


class Heard(Tap):
    """A tap without a device: it is given what it hears."""

    def __init__(self, name: str, packets: list[Packet], missed: int = 0) -> None:
        self.name = name
        self.scope = "nowhere"
        self.problem = None
        self._left = deque(packets)
        self._missed = missed
        self._read, self._write = os.pipe()
        os.write(self._write, b"!")  # readable, like a socket with packets

    @property
    def link(self) -> Link:
        return Link.IP

    def fileno(self) -> int:
        return self._read

    def read(self) -> Packet | None:
        return self._left.popleft() if self._left else None

    def dropped(self) -> int:
        return self._missed

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def stop() -> Iterator[Stop]:
    with Stop() as made:
        yield made


def packet(at: int, data: bytes | None = None, *, outgoing: bool = False) -> Packet:
    data = echo() if data is None else data
    return Packet(at, outgoing, data, len(data), 0)


@given(st.lists(st.lists(st.integers(0, 100)).map(sorted), min_size=1, max_size=4), st.randoms())
def test_packets_come_in_the_order_of_their_times_however_their_queues_are_read(
    queues: list[list[int]], chance: st.randoms
) -> None:
    held, left, got = InOrder(), [deque(queue) for queue in queues], []
    while any(left):
        for number, queue in enumerate(left):
            for _ in range(chance.randint(0, 5)):
                if queue:
                    held.add(Captured(number, packet(queue.popleft())))
        got += held.until(min(queue[0] for queue in left if queue) - 1 if any(left) else 100)
    got += held.until(100)
    times = [each.packet.time for each in got]
    assert times == sorted(times)
    assert len(got) == sum(map(len, queues))


def test_however_the_clocks_go_not_too_many_wait() -> None:
    held = InOrder(most=10)
    for number in range(25):
        held.add(Captured(0, packet(10**18 + number)))
    assert len(held.until(0)) == 15
    assert len(held) == 10


def test_two_devices_are_shown_as_one_story(stop: Stop) -> None:
    past = time.time_ns() - 10**9
    here = Heard("a:eth0", [packet(past + number * 1000) for number in range(0, 1000, 2)])
    there = Heard("b:eth0", [packet(past + number * 1000) for number in range(1, 1000, 2)])
    got = [each for batch in follow([here, there], stop, 0.2) for each in batch]
    assert [each.source for each in got] == [0, 1] * 500


def test_what_has_passed_by_the_end_is_still_read_and_nothing_later(
    stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record.time, "time_ns", lambda: 10_000)
    os.kill(os.getpid(), signal.SIGINT)
    heard = Heard("a:eth0", [packet(time) for time in range(9_000, 11_000, 2)])
    got = [each.packet.time for batch in follow([heard], stop, None) for each in batch]
    assert got == list(range(9_000, 10_001, 2))


def test_ctrl_c_ends_it_and_is_the_shells_again_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Stop() as made:
        os.kill(os.getpid(), signal.SIGINT)
        assert list(follow([Heard("a:eth0", [])], made, None)) == []
    assert signal.getsignal(signal.SIGINT) == before


def test_a_recording_keeps_what_the_filter_wants_on_the_terminal_and_in_the_file() -> None:
    taps = [Heard("alice:ltk0", []), Heard("bob:ltk0", [], missed=3)]
    file, lines = io.BytesIO(), []
    recording = Recording(taps, parse("icmp"), file, lines.append, None)
    assert recording.take([Captured(0, packet(5, outgoing=True)), Captured(1, packet(6, udp(b"abc")))])
    assert recording.take([Captured(1, packet(7))])
    ended = recording.end()
    assert (ended.heard, ended.kept) == ({"alice:ltk0": 1, "bob:ltk0": 2}, {"alice:ltk0": 1, "bob:ltk0": 1})
    alice, bob = "".join(lines).splitlines()
    assert (
        alice.partition(" ")[2] == "alice:ltk0 out 192.0.2.1 > 198.51.100.7  icmp echo request, id 5, seq 3"
    )
    assert bob.partition(" ")[2] == "bob:ltk0   in  192.0.2.1 > 198.51.100.7  icmp echo request, id 5, seq 3"
    read = list(RawPcapNgReader(io.BytesIO(file.getvalue())))
    assert [(told.ifname, told.direction, told.tslow) for _, told in read] == [
        (b"alice:ltk0", 2, 5),
        (b"bob:ltk0", 1, 7),
    ]


def test_a_recording_ends_with_the_last_packet_that_was_asked_for() -> None:
    lines: list[str] = []
    recording = Recording([Heard("a:eth0", [])], None, None, lines.append, 3)
    assert recording.take([Captured(0, packet(1)), Captured(0, packet(2))])
    assert not recording.take([Captured(0, packet(3)), Captured(0, packet(4))])
    assert recording.end().kept == {"a:eth0": 3}
    assert len("".join(lines).splitlines()) == 3


def test_what_was_missed_is_said() -> None:
    recording = Recording([Heard("a:eth0", [], missed=12), Heard("b:eth0", [])], None, None, None, None)
    recording.take([Captured(0, packet(1)), Captured(1, packet(2))])
    said = " / ".join(recording.end().sentences())
    assert said == (
        "captured 2 packets: 1 at a:eth0, 1 at b:eth0 / "
        "missed 12 at a:eth0: they came faster than they could be taken"
    )


def test_where_nothing_was_missed_nothing_is_said_of_it() -> None:
    ended = Ended({"a:eth0": 5}, {"a:eth0": 2}, {"a:eth0": 0}, {"a:eth0": "Network is down"})
    assert ended.sentences() == ["captured 2 of 5 packets: 2 at a:eth0", "a:eth0: Network is down"]


def test_a_line_has_the_local_time_to_the_microsecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    stamp = (20 * 3600 + 14 * 60 + 3) * 10**9 + 45_678_999
    text = line("a:eth0", 8, stamp, True, dissect(echo(), ethernet=False), 0)
    assert text.startswith("20:14:03.045678 a:eth0   out ")
