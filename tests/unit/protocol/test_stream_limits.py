"""Which TCP streams a server keeps: few of one source, and none of whom nobody knows."""

from __future__ import annotations

from sim import Simulation
from sim_net import HOME

from ltk.protocol.drops import Drop
from ltk.protocol.engine import Endpoint, Engine
from ltk.protocol.streams import MAX_ACCEPTED, MAX_PER_SOURCE, MAX_UNPROVEN, PROVEN_WITHIN
from ltk.protocol.stun import TRANSACTION_SIZE, binding_request


def server_alone() -> tuple[Simulation, Engine]:
    world = Simulation()
    world.start()
    assert world.server.engine is not None
    return world, world.server.engine


def closed_by(engine: Engine) -> list[int]:
    found = []
    while (number := engine.poll_closed()) is not None:
        found.append(number)
    return found


def source(number: int, port: int = 1) -> Endpoint:
    return Endpoint(f"198.18.{number // 250}.{number % 250 + 1}", port)


def test_a_stream_on_which_nobody_proves_to_be_anybody_is_closed() -> None:
    world, engine = server_alone()
    number = engine.stream_accepted(source(1), world.now)
    assert number is not None
    assert number < 0
    there = source(1)._replace(socket=number)
    assert engine.handle_datagram(memoryview(bytes(148)), there, world.now) is Drop.UNKNOWN_TYPE
    engine.handle_timeout(world.now + PROVEN_WITHIN - 0.1)
    assert closed_by(engine) == []
    engine.handle_timeout(world.now + PROVEN_WITHIN)
    assert closed_by(engine) == [number]
    assert engine.handle_datagram(memoryview(bytes(148)), there, world.now) is Drop.CLOSED_SOCKET


def test_nothing_is_answered_to_a_stranger_not_even_how_it_is_seen() -> None:
    world, engine = server_alone()
    number = engine.stream_accepted(source(1), world.now)
    assert number is not None
    there = source(1)._replace(socket=number)
    for junk in (binding_request(bytes(TRANSACTION_SIZE)), bytes(8), b"GET / HTTP/1.1\r\n\r\n", bytes(148)):
        assert engine.handle_datagram(memoryview(junk), there, world.now) is Drop.UNKNOWN_TYPE
    assert engine.poll_transmit() is None


def test_of_one_source_there_are_no_more_than_so_many() -> None:
    world, engine = server_alone()
    made = [engine.stream_accepted(source(1, port), world.now) for port in range(1, 1000)]
    assert sum(number is not None for number in made) == MAX_PER_SOURCE
    assert engine.stream_accepted(source(2), world.now) is not None, "another is let in all the same"


def test_strangers_from_everywhere_make_room_for_each_other_and_keep_nobody_out() -> None:
    world, engine = server_alone()
    made = [engine.stream_accepted(source(each), world.now) for each in range(4000)]
    assert None not in made
    assert engine.node_status().streams == MAX_UNPROVEN
    assert closed_by(engine) == made[: 4000 - MAX_UNPROVEN], "the oldest go first"


def test_a_client_is_let_in_between_strangers_and_stays() -> None:
    world = Simulation()
    a = world.client("a", HOME)
    world.internet.wire.lose = lambda _datagram: True
    world.start()
    engine = world.server.engine
    assert engine is not None

    def crowd() -> None:
        for each in range(MAX_UNPROVEN // 4):
            engine.stream_accepted(source(each + int(world.now * 100) % 5000), world.now)
        closed = [each for each in iter(engine.poll_closed, None) if each is not None]
        for number in closed:
            world.streams.close(world.server, number)
        world.after(0.05, crowd)

    crowd()
    world.run(10.0)
    assert len(world.streams.open) == 1, "the handshake takes less time than it takes to be pushed out"
    world.run(60.0)
    assert len(world.streams.open) == 1
    assert a.status(world.server).path == "direct"
    assert engine.node_status().streams <= MAX_ACCEPTED


def test_a_stream_that_its_client_has_left_for_another_is_closed() -> None:
    world = Simulation()
    a = world.client("a", HOME)
    world.internet.wire.lose = lambda _datagram: True
    world.start()
    world.run(5.0)
    a.stop()
    left = world.streams.all[-1]
    left.ended = False  # nobody has told the server
    a.start()
    world.run(60.0)
    assert left.ended
    assert len(world.streams.open) == 1


def test_a_client_that_is_gone_leaves_no_stream() -> None:
    world = Simulation()
    a = world.client("a", HOME)
    world.internet.wire.lose = lambda _datagram: True
    world.start()
    world.run(5.0)
    a.stop()
    world.streams.all[-1].ended = False
    assert world.server.engine is not None
    assert world.server.engine.node_status().streams == 1
    world.run(240.0)
    assert world.server.engine.node_status().streams == 0
