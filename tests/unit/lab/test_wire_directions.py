"""The wire's decisions on a made-up clock: what is lost, when the rest arrives, and in which order."""

from __future__ import annotations

import itertools

import pytest

from ltk.lab.wire import FRAME_OVERHEAD, QUEUE_BYTES, VIRTIO_HEADER, Direction, InFlight, resolves_addresses
from ltk.reconcile.resources import Conditions

MS = 1e-3  # seconds
ETHERNET = bytes(12)  # two addresses
ARP = bytes(VIRTIO_HEADER) + ETHERNET + b"\x08\x06" + bytes(28)


def ipv4(number: int = 0, size: int = 100) -> bytes:
    return bytes(VIRTIO_HEADER) + ETHERNET + b"\x08\x00" + number.to_bytes(4, "big") + bytes(size)


def icmpv6(kind: int) -> bytes:
    header = b"\x60" + bytes(5) + bytes([58, 255]) + bytes(32)
    return bytes(VIRTIO_HEADER) + ETHERNET + b"\x86\xdd" + header + bytes([kind, 0]) + bytes(20)


def fates(conditions: Conditions, count: int, salt: str = "") -> list[float | None]:
    """The arrival of each of `count` frames that all enter at 100 s."""
    direction = Direction(conditions, salt)
    return [direction.enter(ipv4(number), 100.0) for number in range(count)]


def lost(conditions: Conditions, count: int, salt: str = "") -> list[int]:
    return [number for number, fate in enumerate(fates(conditions, count, salt)) if fate is None]


def test_a_frame_arrives_after_the_delay_and_not_before() -> None:
    flight, direction = InFlight(), Direction(Conditions(delay=20_000), "")
    flight.add(direction, ipv4(), now=5.0)
    assert flight.next_arrival() == pytest.approx(5.020)
    assert list(flight.arrived(5.0199)) == []
    assert list(flight.arrived(5.0201)) == [(direction, ipv4())]
    assert flight.next_arrival() is None
    assert len(flight) == 0


def test_without_conditions_a_frame_arrives_at_once() -> None:
    flight, direction = InFlight(), Direction(Conditions(), "")
    flight.add(direction, ipv4(), now=5.0)
    assert list(flight.arrived(5.0)) == [(direction, ipv4())]


def test_frames_of_the_same_moment_arrive_as_they_entered() -> None:
    flight, direction = InFlight(), Direction(Conditions(delay=1000), "")
    frames = [ipv4(number) for number in range(500, 0, -1)]
    for frame in frames:
        flight.add(direction, frame, now=1.0)
    assert [frame for _, frame in flight.arrived(2.0)] == frames


def test_wires_with_less_delay_deliver_first() -> None:
    flight = InFlight()
    slow, quick = Direction(Conditions(delay=50_000), ""), Direction(Conditions(delay=10_000), "")
    flight.add(slow, ipv4(1), now=0.0)
    flight.add(quick, ipv4(2), now=0.0)
    assert [direction for direction, _ in flight.arrived(1.0)] == [quick, slow]


def test_jitter_spreads_the_delay_evenly_to_both_sides_and_keeps_the_order() -> None:
    direction = Direction(Conditions(delay=20_000, jitter=5_000, seed=1), "")
    entered = [number * 1.0 for number in range(2000)]  # far apart: nobody waits for the one before
    delays = [arrival - now for now in entered if (arrival := direction.enter(ipv4(), now)) is not None]
    assert min(delays) == pytest.approx(15 * MS, abs=0.1 * MS)
    assert max(delays) == pytest.approx(25 * MS, abs=0.1 * MS)
    assert sum(delays) / len(delays) == pytest.approx(20 * MS, abs=0.5 * MS)

    close = fates(Conditions(delay=20_000, jitter=5_000, seed=1), 200)
    arrivals = [fate for fate in close if fate is not None]
    assert len(set(arrivals)) > 2
    assert arrivals == sorted(arrivals)


def test_loss_is_what_was_asked_for() -> None:
    assert len(lost(Conditions(loss=100_000, seed=7), 20_000)) == pytest.approx(2000, abs=150)
    assert lost(Conditions(loss=0), 1000) == []
    assert len(lost(Conditions(loss=1_000_000), 1000)) == 1000


def test_the_same_seed_loses_the_same_packets_and_another_one_others() -> None:
    ten_percent = Conditions(loss=100_000, seed=7)
    assert lost(ten_percent, 1000) == lost(ten_percent, 1000)
    assert lost(ten_percent, 1000) != lost(Conditions(loss=100_000, seed=8), 1000)


def test_the_two_directions_lose_different_packets() -> None:
    conditions = Conditions(loss=100_000, seed=7)
    assert lost(conditions, 1000, "there") != lost(conditions, 1000, "back")


def test_a_change_of_the_delay_does_not_change_which_packets_are_lost() -> None:
    conditions = Conditions(loss=100_000, seed=7)
    direction = Direction(conditions, "")
    found = []
    for number in range(1000):
        if number == 500:
            direction.change(Conditions(delay=9_000, jitter=2_000, loss=100_000, seed=7))
        if direction.enter(ipv4(), 1.0) is None:
            found.append(number)
    assert found == lost(conditions, 1000)
    assert direction.lost == len(found)


def test_another_seed_begins_anew() -> None:
    direction = Direction(Conditions(loss=100_000, seed=7), "")
    for _ in range(300):
        direction.enter(ipv4(), 1.0)
    direction.change(Conditions(loss=100_000, seed=8))
    found = [number for number in range(1000) if direction.enter(ipv4(), 1.0) is None]
    assert found == lost(Conditions(loss=100_000, seed=8), 1000)


def test_a_shorter_delay_counts_for_the_next_packet_and_not_only_after_the_last_one() -> None:
    flight, direction = InFlight(), Direction(Conditions(delay=10_000_000), "")
    flight.add(direction, ipv4(1), now=0.0)
    direction.change(Conditions(delay=10_000))
    flight.add(direction, ipv4(2), now=0.0)
    assert [frame for _, frame in flight.arrived(0.02)] == [ipv4(2)]
    assert [frame for _, frame in flight.arrived(10.0)] == [ipv4(1)]


def test_a_full_queue_refuses_the_newest_and_has_room_again_when_frames_have_arrived() -> None:
    flight, direction = InFlight(), Direction(Conditions(delay=1_000_000), "")
    big = ipv4(size=1 << 16)
    fitting = QUEUE_BYTES // (len(big) + FRAME_OVERHEAD)
    for _ in range(fitting + 5):
        flight.add(direction, big, now=0.0)
    assert len(flight) == fitting
    assert direction.overflowed == 5
    assert direction.lost == 0
    assert len(list(flight.arrived(1.0))) == fitting
    assert direction.queued == 0
    flight.add(direction, big, now=2.0)
    assert len(flight) == 1


def test_tiny_frames_fill_the_queue_too() -> None:
    direction = Direction(Conditions(delay=1_000_000), "")
    tiny = ipv4(size=0)
    let_in = sum(1 for _ in itertools.takewhile(lambda _: direction.enter(tiny, 0.0), itertools.count()))
    assert let_in <= QUEUE_BYTES // FRAME_OVERHEAD


@pytest.mark.parametrize(
    "frame", [ARP, icmpv6(135), icmpv6(136)], ids=["arp", "solicitation", "advertisement"]
)
def test_address_resolution_is_neither_delayed_nor_lost(frame: bytes) -> None:
    flight, direction = InFlight(), Direction(Conditions(delay=50_000, loss=1_000_000), "")
    flight.add(direction, frame, now=1.0)
    assert list(flight.arrived(1.0)) == [(direction, frame)]
    assert direction.lost == 0
    assert direction.queued == 0


@pytest.mark.parametrize(
    "frame",
    [ipv4(), icmpv6(128), icmpv6(135)[: VIRTIO_HEADER + 14 + 30], bytes(VIRTIO_HEADER + 3), b""],
    ids=["ipv4", "an IPv6 ping", "cut short", "no Ethernet", "nothing"],
)
def test_everything_else_is_somebodys_packet(frame: bytes) -> None:
    assert not resolves_addresses(frame)
