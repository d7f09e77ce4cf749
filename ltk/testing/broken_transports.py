"""UDP and TCP to the server, broken: when one is left for the other, what a stream carries, who is let in."""

from __future__ import annotations

from ltk.node.framing import Writer
from ltk.protocol import streams
from ltk.protocol.streams import Streams
from ltk.protocol.transport import Transport
from ltk.testing.breaking import mutant, replace


@mutant("transport-never-falls-back")
def _never_falls_back() -> None:
    """A handshake that gets no answer is asked for by UDP for ever."""
    replace(Transport, "asked", lambda _transport, _now: None)


@mutant("transport-never-returns")
def _never_returns() -> None:
    """Who has come to use TCP does not ask for UDP again."""
    replace(Transport, "_ask_udp_anew", lambda _transport, _now: None)


@mutant("transport-one-way-is-enough")
def _one_way_is_enough() -> None:
    """UDP is asked for by a PROBE at once, which moves the server's view of the client if it gets there."""
    ask = Transport._ask_udp

    def probe_at_once(transport: Transport, now: float) -> None:
        if transport._transaction:
            transport._challenge, transport._transaction = transport._transaction[:8], b""
        ask(transport, now)

    replace(Transport, "_ask_udp", probe_at_once)


@mutant("stream-torn-by-partial-writes")
def _torn_by_partial_writes() -> None:
    """What the kernel did not take of a datagram is forgotten with it."""
    replace(Writer, "sent", lambda writer, _count: writer._waiting.clear())


@mutant("streams-of-strangers-stay")
def _of_strangers_stay() -> None:
    """Streams on which nobody has proven anything are neither counted nor closed."""
    streams.MAX_UNPROVEN = streams.MAX_PER_SOURCE = streams.MAX_ACCEPTED = 1 << 30
    replace(Streams, "_tend", lambda _streams, _timer, _now: None)
