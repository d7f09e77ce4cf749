"""The inbox over a socket of straw: who is served when, and who is refused."""

from __future__ import annotations

from collections import Counter, deque

from ltk.node.inbox import ENTRY, LIMIT, QUANTUM, QUEUE_FULL, READS, Inbox, work
from ltk.node.loop import BUDGET
from ltk.protocol.messages import Endpoint

FLOOD, PING, OTHER = (Endpoint("192.0.2.1", port) for port in (1, 2, 3))
BURST = 60000  # bytes
SIZE = 1400


class Socket:
    """Yields what is given to it."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[bytes, int, Endpoint | None]] = deque()

    def give(self, source: Endpoint | None, length: int, count: int = 1, *, size: int = SIZE) -> None:
        self.waiting.extend([(bytes(length), min(size, length), source)] * count)

    def receive(self, into: memoryview) -> tuple[int, int, Endpoint | None] | None:
        if not self.waiting:
            return None
        data, size, source = self.waiting.popleft()
        into[: len(data)] = data
        return len(data), size, source


class Rig:
    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.inbox = Inbox(self.drops)
        self.socket = Socket()
        self._buffer = memoryview(bytearray(1 << 16))

    def fill(self) -> None:
        self.inbox.fill(self.socket, self._buffer)

    def served(self, units: int) -> Counter[Endpoint]:
        """Bytes by sender, of so much work."""
        found: Counter[Endpoint] = Counter()
        while units > 0 and (arrived := self.inbox.take()) is not None:
            found[arrived.source] += len(arrived.data)
            units -= work(len(arrived.data))
        return found


def test_what_waits_comes_out_whole_and_in_the_order_of_its_sender() -> None:
    rig = Rig()
    for number in range(1, 100):
        rig.socket.waiting.append((bytes([number]) * number, number, (FLOOD, PING)[number % 2]))
    rig.fill()
    found = []
    while (arrived := rig.inbox.take()) is not None:
        found.append(arrived)
    for sender in (FLOOD, PING):
        assert [each.data[0] for each in found if each.source == sender] == [
            number for number in range(1, 100) if (FLOOD, PING)[number % 2] == sender
        ]
    assert all(bytes(each.data) == bytes([each.size]) * each.size for each in found)
    assert rig.inbox.is_empty
    assert rig.drops == {}


def test_a_ping_behind_a_flood_is_served_within_a_turn() -> None:
    rig = Rig()
    rig.socket.give(FLOOD, BURST, 40)
    rig.socket.give(PING, 150)
    rig.fill()
    assert rig.served(BUDGET)[PING] == 150


def test_senders_get_equal_shares_however_much_each_sends() -> None:
    rig = Rig()
    for _ in range(20):
        rig.socket.give(FLOOD, BURST)
        rig.socket.give(OTHER, SIZE, 5)
    rig.fill()
    got = rig.served(2 * 80)
    units = {FLOOD: got[FLOOD] // BURST * work(BURST), OTHER: got[OTHER] // SIZE * work(SIZE)}
    assert all(abs(each - 80) <= 2 * QUANTUM for each in units.values()), units
    left = rig.served(1 << 20)
    assert got + left == {FLOOD: 20 * BURST, OTHER: 100 * SIZE}


def test_two_that_flood_get_the_same_and_a_third_finds_room() -> None:
    rig = Rig()
    shares: Counter[Endpoint] = Counter()
    for _ in range(50):
        rig.socket.give(FLOOD, BURST, 80)
        rig.socket.give(OTHER, BURST, 10)
        rig.socket.give(PING, 150)
        rig.fill()
        assert not rig.socket.waiting
        shares += rig.served(BUDGET)
    assert 0.5 < shares[FLOOD] / shares[OTHER] < 2
    assert shares[PING] == 50 * 150, "one that sends little loses nothing and waits for nobody"
    assert rig.drops[QUEUE_FULL] > 0


def test_one_alone_gets_half_of_the_room_and_what_is_refused_is_counted_by_datagrams() -> None:
    rig = Rig()
    count = LIMIT // BURST
    rig.socket.give(FLOOD, BURST, count)
    rig.fill()
    kept = sum(rig.served(1 << 20).values()) // BURST
    assert abs(kept * (BURST + ENTRY) - LIMIT // 2) <= BURST + ENTRY
    assert rig.drops == {QUEUE_FULL: (count - kept) * -(-BURST // SIZE)}


def test_a_flood_of_senders_fills_no_memory() -> None:
    rig = Rig()
    for number in range(3 * LIMIT // SIZE):
        rig.socket.give(Endpoint("192.0.2.7", number), SIZE)
    while rig.socket.waiting:
        rig.fill()
    assert sum(rig.served(1 << 30).values()) <= LIMIT
    assert rig.inbox.is_empty


def test_reading_ends_after_so_many_and_errors_of_the_network_are_no_senders() -> None:
    rig = Rig()
    rig.socket.give(None, 0, READS // 2)
    rig.socket.give(PING, 150, READS)
    rig.fill()
    assert len(rig.socket.waiting) == READS // 2
    assert rig.served(1 << 20) == {PING: READS // 2 * 150}
    assert QUANTUM < BUDGET, "a turn has room for more than one sender"
