"""The loop over an engine of straw: a packet from the device goes out as it is, a datagram comes in."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator

import pytest

from ltk.node.loop import BUDGET, DEVICE_GONE, ENOUGH, PATIENCE, Loop
from ltk.node.poller import IN, Poller
from ltk.node.tun import DOWN, DeviceGoneError, Tun
from ltk.node.udp import Udp
from ltk.protocol.messages import Endpoint
from ltk.protocol.outbox import Transmit
from ltk.protocol.vnet import Packet

TurnUntil = Callable[[Callable[[], object], str], None]


class Straw:
    """Stands for the engine; records the order in which it is called."""

    def __init__(self) -> None:
        self.peer = Endpoint("127.0.0.1", 9)
        self.due: float | None = None
        self.timeouts = 0
        self.calls: list[str] = []
        self.transmits: deque[Transmit] = deque()
        self.delivers: deque[bytes] = deque()
        self.events: deque[str] = deque()
        self.closed: deque[int] = deque()

    @property
    def queued(self) -> int:
        return sum(len(each.data) for each in self.transmits) + sum(map(len, self.delivers))

    def handle_vnet_packet(self, packet: Packet, now: float) -> None:
        assert self.queued <= ENOUGH, "not drained when there was much"
        assert packet.owes_nothing
        self.calls.append("packet")
        self.transmits.append(Transmit(bytes(packet.bare), self.peer))

    def handle_burst(self, data: memoryview, size: int, source: Endpoint, now: float) -> None:
        for at in range(0, len(data), size):
            self.handle_datagram(data[at : at + size], source, now)

    def handle_datagram(self, data: memoryview, source: Endpoint, now: float) -> None:
        assert self.queued <= ENOUGH, "not drained when there was much"
        self.calls.append("datagram")
        self.delivers.append(bytes(data))
        self.events.append(f"from {source.address}")

    def handle_timeout(self, now: float) -> None:
        self.calls.append("timeout")
        self.timeouts += 1
        self.due = None

    def next_timeout(self) -> float | None:
        return self.due

    def poll_transmit(self) -> Transmit | None:
        return self.transmits.popleft() if self.transmits else None

    def poll_connect(self) -> Endpoint | None:
        return None

    def poll_closed(self) -> int | None:
        return self.closed.popleft() if self.closed else None

    def poll_deliver(self) -> bytes | None:
        return self.delivers.popleft() if self.delivers else None

    def poll_event(self) -> str | None:
        return self.events.popleft() if self.events else None


class Rig:
    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self.engine = Straw()
        self.drops: Counter[str] = Counter()
        self.events: list[object] = []
        self.gone: list[DeviceGoneError] = []
        self.loop = Loop(
            poller,
            self.engine,
            Udp.open(0, self.drops),
            self.drops,
            on_event=self.events.append,
            on_device_gone=self.gone.append,
        )
        self.device, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.device.setblocking(False)
        ours.setblocking(False)
        self.loop.use_tun(Tun("straw0", ours.detach(), self.drops))
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind(("127.0.0.1", 0))
        self.peer.setblocking(False)
        self.engine.peer = Endpoint("127.0.0.1", self.peer.getsockname()[1])

    def close(self) -> None:
        self.loop.close()
        self.device.close()
        self.peer.close()

    def run_for(self, seconds: float) -> None:
        self.poller.later(seconds, self.loop.stop)
        self.loop.run()


@pytest.fixture
def rig(poller: Poller) -> Iterator[Rig]:
    made = Rig(poller)
    yield made
    made.close()


def received(end: socket.socket) -> list[bytes]:
    found = []
    try:
        while data := end.recv(65536):
            found.append(data)
    except BlockingIOError:
        pass
    return found


def test_packets_go_out_and_datagrams_come_in_whole_and_in_order(rig: Rig) -> None:
    packets = [bytes([n]) * size for n, size in enumerate((20, 1380, 1, 9000))]
    for packet in packets:
        rig.device.send(packet)
        rig.peer.sendto(packet, ("127.0.0.1", rig.loop.udp.port))
    rig.run_for(0.1)
    assert received(rig.peer) == packets
    assert received(rig.device) == packets
    assert rig.events == ["from 127.0.0.1"] * len(packets)


def test_datagrams_that_belong_together_leave_in_one_call_and_come_in_as_they_arrived(poller: Poller) -> None:
    drops: Counter[str] = Counter()
    sender, receiver = (Udp.open(0, drops, offloads=True) for _ in range(2))
    assert sender.cuts
    assert receiver.joins
    data = bytes(range(256)) * 5
    assert sender.send_burst(data, 300, Endpoint("127.0.0.1", receiver.port))
    into = memoryview(bytearray(65536))
    poller.watch(receiver.fileno(), IN, lambda _: None)
    poller.wait(time.monotonic() + 5)
    length, size, source = receiver.receive(into) or (0, 0, None)
    assert (bytes(into[:length]), size) == (data, 300)
    assert source == Endpoint("127.0.0.1", sender.port)
    for each in (sender, receiver):
        each.close()


def test_neither_direction_nor_the_timer_starves(rig: Rig) -> None:
    count = 3 * BUDGET
    for _ in range(count):
        rig.peer.sendto(b"in", ("127.0.0.1", rig.loop.udp.port))
    rig.device.send(b"out")
    rig.engine.due = time.monotonic()
    rig.loop._turn()
    assert rig.engine.calls.count("packet") == 1
    assert rig.engine.calls.count("datagram") == BUDGET
    rig.loop._turn()
    assert rig.engine.calls.count("datagram") == 2 * BUDGET


def test_timers_wait_for_what_has_arrived_and_not_for_ever(rig: Rig) -> None:
    """A node that had no turn for a while hears what has been said before it finds anybody silent."""
    moment = time.monotonic()
    rig.loop._clock = lambda: moment
    for _ in range(2 * BUDGET):
        rig.peer.sendto(b"in", ("127.0.0.1", rig.loop.udp.port))
    rig.engine.due = moment
    rig.loop._turn()
    assert "timeout" not in rig.engine.calls, "with datagrams to be taken yet"
    rig.loop._turn()
    assert rig.engine.calls[-1] == "timeout"
    for _ in range(9 * BUDGET):
        rig.peer.sendto(b"in", ("127.0.0.1", rig.loop.udp.port))
    rig.engine.due = moment
    rig.loop._turn()
    moment += 2 * PATIENCE
    rig.loop._turn()
    assert rig.engine.timeouts == 2, "though more datagrams wait"


def test_what_wakes_the_node_is_passed_on_before_it_is_asked_whether_there_is_more(rig: Rig) -> None:
    for _ in range(2):  # the first finds out that they come one at a time
        rig.device.send(b"out")
        rig.peer.sendto(b"in", ("127.0.0.1", rig.loop.udp.port))
    rig.loop._turn()
    assert (len(received(rig.peer)), len(received(rig.device))) == (2, 2)
    rig.loop._packets_are_lone = rig.loop._datagrams_are_lone = True
    rig.poller._clock = iter(range(1000, 2000)).__next__  # each wait takes a second
    for number in range(2):
        rig.device.send(b"out %d" % number)
        rig.peer.sendto(b"in %d" % number, ("127.0.0.1", rig.loop.udp.port))
    rig.loop._turn()
    assert (received(rig.peer), received(rig.device)) == ([b"out 0"], [b"in 0"])
    rig.poller._clock = time.monotonic
    rig.loop._turn()
    assert (received(rig.peer), received(rig.device)) == ([b"out 1"], [b"in 1"])


def test_a_node_that_wakes_late_hears_all_that_was_said_before_its_timers(rig: Rig) -> None:
    rig.loop._packets_are_lone = rig.loop._datagrams_are_lone = True
    moments = iter(range(1000, 2000))
    rig.poller._clock = rig.loop._clock = lambda: float(next(moments))
    for _ in range(3):
        rig.peer.sendto(b"in", ("127.0.0.1", rig.loop.udp.port))
    rig.engine.due = 1000.5  # and it is a second later when the wait ends
    rig.loop._turn()
    assert rig.engine.calls == ["datagram"] * 3 + ["timeout"]


def test_who_sends_little_waits_a_turn_and_not_for_all_that_another_has_sent(rig: Rig) -> None:
    for number in range(4 * BUDGET):
        rig.peer.sendto(b"%d" % number, ("127.0.0.1", rig.loop.udp.port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"ping", ("127.0.0.1", rig.loop.udp.port))
        rig.loop._turn()
        rig.loop._turn()
        early = received(rig.device)
        assert b"ping" in early, "it had to wait for the other sender's datagrams"
        assert len(early) == 2 * BUDGET
    for _ in range(3):
        rig.loop._turn()
    late = received(rig.device)
    assert [each for each in early + late if each != b"ping"] == [b"%d" % n for n in range(4 * BUDGET)]


def test_the_timer_comes_when_it_is_due_and_not_before(rig: Rig) -> None:
    rig.engine.due = due = time.monotonic() + 0.05
    while not rig.engine.timeouts:
        rig.loop._turn()
    assert 0 <= time.monotonic() - due < 1.0


def test_idling_turns_no_turns_and_costs_nothing(rig: Rig) -> None:
    turns, turn = [], rig.loop._turn
    rig.loop._turn = lambda: (turns.append(1), turn())  # type: ignore[method-assign]
    before = time.process_time()
    rig.run_for(0.3)
    assert len(turns) <= 3
    assert time.process_time() - before < 0.05


def test_a_device_that_goes_while_waiting_is_let_go_and_the_loop_goes_on(rig: Rig) -> None:
    rig.device.close()  # the far end's hang-up looks to epoll as the deletion of a device does
    before = time.process_time()
    rig.run_for(0.2)
    assert time.process_time() - before < 0.1
    assert len(rig.gone) == 1
    assert rig.loop.tun is None
    rig.peer.sendto(b"in", ("127.0.0.1", rig.loop.udp.port))
    rig.loop._running = True
    rig.run_for(0.05)
    assert rig.drops[DEVICE_GONE] == 1


def test_another_device_takes_the_place_of_the_one_that_has_gone(rig: Rig) -> None:
    rig.loop._device_gone(DeviceGoneError("testing", "gone"))
    rig.device, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    rig.device.setblocking(False)
    ours.setblocking(False)
    rig.loop.use_tun(Tun("straw1", ours.detach(), rig.drops))
    rig.device.send(b"out")
    rig.peer.sendto(b"in", ("127.0.0.1", rig.loop.udp.port))
    rig.run_for(0.05)
    assert received(rig.peer) == [b"out"]
    assert received(rig.device) == [b"in"]


class Broken(Tun):
    """A device whose writes fail with the error number `code`."""

    __slots__ = ()
    code = 5  # EIO

    def write(self, packet: memoryview | bytes) -> bool:
        real, os.write = os.write, self._fail  # type: ignore[assignment]
        try:
            return super().write(packet)
        finally:
            os.write = real

    def _fail(self, *_: object) -> int:
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize(
    ("code", "drops", "stays"),
    [(5, {DOWN: 1}, True), (105, {"device-full": 1}, True), (77, {DEVICE_GONE: 1}, False)],
    ids=["down", "no room", "deleted"],
)
def test_what_a_write_says_about_the_device(rig: Rig, code: int, drops: dict[str, int], stays: bool) -> None:
    far, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    tun = Broken("straw1", ours.detach(), rig.drops)
    Broken.code = code
    rig.loop.use_tun(tun)
    rig.peer.sendto(b"in", ("127.0.0.1", rig.loop.udp.port))
    rig.run_for(0.05)
    assert rig.drops == drops
    assert (rig.loop.tun is tun) is stays
    far.close()


def test_another_socket_takes_the_place_of_the_one_before(rig: Rig) -> None:
    old = rig.loop.udp.port
    rig.peer.sendto(b"late", ("127.0.0.1", old))
    rig.loop.use_udp(Udp.open(0, rig.drops))
    assert rig.loop.udp.port != old
    rig.peer.sendto(b"in", ("127.0.0.1", rig.loop.udp.port))
    rig.run_for(0.05)
    assert sorted(received(rig.device)) == [b"in", b"late"]


def test_a_socket_opens_with_its_first_datagram_and_closes_when_it_is_needed_no_more(rig: Rig) -> None:
    number = 5
    rig.engine.transmits += (
        Transmit(b"by the main one", rig.engine.peer),
        Transmit(b"by another", rig.engine.peer._replace(socket=number)),
        Transmit(b"by the other again", rig.engine.peer._replace(socket=number)),
    )
    rig.loop.drain()
    ports = [rig.peer.recvfrom(64)[1][1] for _ in range(3)]
    assert ports[0] == rig.loop.udp.port
    assert ports[1] == ports[2] != ports[0]
    rig.peer.sendto(b"an answer", ("127.0.0.1", ports[1]))
    rig.run_for(0.1)
    assert received(rig.device) == [b"an answer"]
    rig.engine.closed.append(number)
    rig.loop.drain()
    rig.loop._running = True
    rig.run_for(0.1)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as again:
        again.bind(("::", ports[1]))  # it is free
    assert not rig.drops
