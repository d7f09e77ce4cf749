"""Simulated TCP between clients and the server: streams that connect, carry datagrams in order, and end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim_net import INTERNET_DELAY

from ltk.protocol.messages import Endpoint

if TYPE_CHECKING:
    from sim import Node, Simulation


@dataclass
class Stream:
    """One stream, from a client's number for it to the server's, which it has once it is open."""

    client: Node
    number: int
    source: Endpoint
    server_number: int | None = None
    ended: bool = False
    carried: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})  # datagrams


class Streams:
    """All streams of a world. `blocked` are the names of clients whose TCP gets nowhere; `silent` too, but
    what is open stays so and nothing passes it any more, as when a router drops it."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._ports = 40_000
        self.all: list[Stream] = []
        self.blocked: set[str] = set()
        self.silent: set[str] = set()
        self.refused = False

    @property
    def open(self) -> list[Stream]:
        return [each for each in self.all if each.server_number is not None and not each.ended]

    def connect(self, client: Node, to: Endpoint) -> None:
        """Begin to connect a client's stream; it is open a round trip later."""
        self._ports += 1
        stream = Stream(client, to.socket, Endpoint(client.public_address, self._ports))
        self.all.append(stream)
        assert to[:2] == self._world.server.endpoint[:2], f"{client.name} connects to {to}"
        if client.name not in self.blocked | self.silent:
            self._world.after(INTERNET_DELAY, self._arrive, stream)

    def _arrive(self, stream: Stream) -> None:
        server = self._world.server
        number = None
        if server.engine is not None and not self.refused and not stream.ended:
            number = server.engine.stream_accepted(stream.source, self._world.now)
            server.drain()
        if number is None:
            stream.ended = True
            self._world.after(INTERNET_DELAY, self._tell, stream.client, stream.number)
        else:
            stream.server_number = number
            self._world.after(INTERNET_DELAY, self._opened, stream)

    def _opened(self, stream: Stream) -> None:
        if stream.client.engine is not None and not stream.ended:
            stream.client.engine.stream_opened(stream.number, self._world.now)
            stream.client.drain()

    def send(self, node: Node, data: bytes, to: Endpoint) -> None:
        """Carry a datagram to the other end of a stream that is open, in order."""
        stream = self._of(node, to.socket)
        if stream is None or stream.server_number is None or stream.client.name in self.silent:
            return
        self._world.after(INTERNET_DELAY, self._carry, stream, node is self._world.server, data)

    def _carry(self, stream: Stream, down: bool, data: bytes) -> None:
        if stream.ended or stream.server_number is None:
            return
        receiver = stream.client if down else self._world.server
        server = self._world.server.endpoint
        source = server._replace(socket=stream.number) if down else stream.source
        number = stream.number if down else stream.server_number
        stream.carried["down" if down else "up"] += 1
        if receiver.engine is not None:
            receiver.engine.handle_datagram(memoryview(data), source._replace(socket=number), self._world.now)
            receiver.drain()

    def close(self, node: Node, number: int) -> None:
        """End a stream as one of its ends wishes."""
        stream = self._of(node, number)
        if stream is not None:
            self.end(stream, told=stream.client if node is self._world.server else self._world.server)

    def close_all_of(self, node: Node) -> None:
        """End all streams of a node that has stopped."""
        for stream in self.all:
            if not stream.ended and node in (stream.client, self._world.server):
                self.end(stream, told=stream.client if node is self._world.server else self._world.server)

    def reset(self, client: Node) -> None:
        """End a client's streams from in between: both ends are told."""
        for stream in self.open:
            if stream.client is client:
                self.end(stream, told=client)
                assert stream.server_number is not None
                self._tell(self._world.server, stream.server_number)

    def end(self, stream: Stream, told: Node) -> None:
        """End a stream and tell one of its ends."""
        stream.ended = True
        number = stream.number if told is stream.client else stream.server_number
        if number is not None and stream.client.name not in self.silent:
            self._world.after(INTERNET_DELAY, self._tell, told, number)

    def _tell(self, node: Node, number: int) -> None:
        if node.engine is not None:
            node.engine.stream_ended(number, self._world.now)
            node.drain()

    def _of(self, node: Node, number: int) -> Stream | None:
        is_server = node is self._world.server
        for each in self.all:
            own = each.server_number if is_server else each.number
            if own == number and not each.ended and (is_server or each.client is node):
                return each
        return None
