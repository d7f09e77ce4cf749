"""Deliberately broken variants of ltk: a proof that passes on one of them proves nothing.

Each mutant breaks one promise by replacing a method of a class with a variant. A daemon installs the one
that LTK_MUTANT names as it starts, and refuses to start with one outside of a test run.
"""

from __future__ import annotations

import difflib
import math
import os
import select
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ltk.errors import InvalidInputError
from ltk.node.control import Answer, ControlServer, Request
from ltk.node.loop import Loop
from ltk.node.poller import Poller
from ltk.node.tun import DeviceGoneError, Tun
from ltk.protocol.active import Active
from ltk.protocol.attempt import Attempt, Backoff
from ltk.protocol.cookie import MacChecker
from ltk.protocol.drops import Drop
from ltk.protocol.frames import Introduce
from ltk.protocol.keyring import Keyring
from ltk.protocol.messages import Buffer, Endpoint, Place, ip_destination, unpack_data_header
from ltk.protocol.noise import _Transcript
from ltk.protocol.paths import Paths
from ltk.protocol.peer import Peer
from ltk.protocol.primitives import KEY_SIZE
from ltk.protocol.receiver import Receiver
from ltk.protocol.relay import ChannelRequests
from ltk.protocol.rendezvous import Announcer
from ltk.protocol.replay import ReplayWindow
from ltk.protocol.session import Session
from ltk.protocol.timers import Timer
from ltk.protocol.vnet import Packet

TEST_RUN = "PYTEST_CURRENT_TEST"  # set by pytest while a test runs, and inherited by what it starts
READ_DELAY = 0.010  # seconds

_MUTANTS: dict[str, Callable[[], None]] = {}


def names() -> tuple[str, ...]:
    """All mutants, in the order of the alphabet."""
    return tuple(sorted(_MUTANTS))


def install(name: str) -> None:
    """Break this process as the mutant `name` does, until it ends.

    Raises InvalidInputError outside of a test run, and for a name that is no mutant's.
    """
    doing = f"installing the mutant {name!r}"
    if TEST_RUN not in os.environ:
        raise InvalidInputError(
            doing, "only a test may run a program that is broken on purpose", hint="Unset LTK_MUTANT."
        )
    if name not in _MUTANTS:
        near = difflib.get_close_matches(name, _MUTANTS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names())}."
        raise InvalidInputError(doing, "there is no such mutant", hint=hint)
    _MUTANTS[name]()


def _mutant(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(breaks: Callable[[], None]) -> Callable[[], None]:
        _MUTANTS[name] = breaks
        return breaks

    return register


def _replace(owner: type, method: str, variant: Callable[..., object]) -> None:
    if method not in vars(owner):  # renamed since: setting it would break nothing, and prove nothing
        raise AttributeError(f"{owner.__name__} has no method {method} of its own to replace")
    setattr(owner, method, variant)


# The TUN's reader.


@_mutant("tun-exit-on-would-block")
def _exit_on_would_block() -> None:
    """That there is nothing to read is taken for a failure of the device."""

    def nothing_now(_tun: Tun) -> None:
        raise BlockingIOError("the read would block")

    _replace(Tun, "_nothing_now", nothing_now)


@_mutant("tun-busy-loop")
def _busy_loop() -> None:
    """The loop looks again and again instead of waiting."""

    def look(loop: Loop, _until: float) -> None:
        loop._poller.wait(time.monotonic())

    _replace(Loop, "_wait", look)


@_mutant("tun-sleep-in-read")
def _sleep_in_read() -> None:
    """Each read is put off a little, so that something may have arrived by then."""
    read = Tun.read

    def read_late(tun: Tun, into: memoryview) -> int | None:
        select.select((), (), (), READ_DELAY)
        return read(tun, into)

    _replace(Tun, "read", read_late)


@_mutant("tun-blocking-read")
def _blocking_read() -> None:
    """The device is read until there is a packet, whatever else there would be to do."""
    make = Tun.__init__

    def make_blocking(
        tun: Tun, name: str, descriptor: int, drops: Counter[str], offloads: int | None
    ) -> None:
        os.set_blocking(descriptor, True)
        make(tun, name, descriptor, drops, offloads)

    _replace(Tun, "__init__", make_blocking)


@_mutant("tun-exit-on-interrupt")
def _exit_on_interrupt() -> None:
    """A wait that a signal interrupts is not resumed. SIGCONT does that to epoll_wait, see signal(7)."""
    run = Loop.run

    def interrupt(number: int, _frame: object) -> None:
        raise InterruptedError(f"interrupted by signal {number}")

    def run_interruptibly(loop: Loop) -> None:
        signal.signal(signal.SIGCONT, interrupt)
        run(loop)

    _replace(Loop, "run", run_interruptibly)


@_mutant("tun-exit-on-link-down")
def _exit_on_link_down() -> None:
    """A packet that a device does not take is taken for the end of the device."""
    write = Tun.write

    def write_or_end(tun: Tun, packet: Buffer) -> bool:
        if not write(tun, packet):
            raise OSError(f"{tun.name} did not take a packet")
        return True

    _replace(Tun, "write", write_or_end)


@_mutant("tun-exit-on-deletion")
def _exit_on_deletion() -> None:
    """The daemon ends with its device, and all sessions with it."""

    def end(_loop: Loop, error: DeviceGoneError) -> None:
        raise error

    _replace(Loop, "_device_gone", end)


# Who gets in, and what gets through.


@_mutant("session-no-replay-window")
def _no_replay_window() -> None:
    """Every counter is new."""
    _replace(ReplayWindow, "accept", lambda _window, _counter: True)


@_mutant("session-nonce-reused")
def _nonce_reused() -> None:
    """A counter is noted once its datagram is sealed, so that one that fails midway is not counted."""
    seal = Session.seal

    def seal_then_count(session: Session, payload: Buffer, out: memoryview) -> bool:
        before = session._sent
        try:
            return seal(session, payload, out)
        except BaseException:
            session._sent = before
            raise

    _replace(Session, "seal", seal_then_count)


@_mutant("session-never-expires")
def _never_expires() -> None:
    """A session is good for as long as it is remembered."""
    _replace(Session, "may_receive", lambda _session, _now: True)


@_mutant("routing-source-not-checked")
def _source_not_checked() -> None:
    """A peer may use any source address inside the tunnel."""
    route = Receiver._route_in

    def route_any(receiver: Receiver, peer: Peer, payload: Packet, now: float) -> Drop | None:
        drop = route(receiver, peer, payload, now)
        if drop is Drop.SOURCE_NOT_ALLOWED:
            receiver._outbox.deliver.append(payload)
            return None
        return drop

    _replace(Receiver, "_route_in", route_any)


@_mutant("endpoint-from-anybody")
def _endpoint_from_anybody() -> None:
    """A peer is where its datagrams come from, authentic or not."""
    handle = Receiver.handle_data

    def follow(receiver: Receiver, data: memoryview, source: Endpoint, now: float) -> Drop | None:
        entry = receiver._local.sessions.get(unpack_data_header(data)[1])
        if entry is not None:
            entry[0].endpoint = source
        return handle(receiver, data, source, now)

    _replace(Receiver, "handle_data", follow)


@_mutant("endpoint-stays")
def _endpoint_stays() -> None:
    """A peer is where it was first heard."""
    move = Peer._move

    def move_once(peer: Peer, source: Endpoint, now: float) -> None:
        if peer.endpoint is None:
            move(peer, source, now)

    _replace(Peer, "_move", move_once)


@_mutant("relay-reads-along")
def _relay_reads_along() -> None:
    """What is for another client is sealed for the server, which routes it."""
    send, route = Peer.send_packet, Receiver._route_in

    def send_by_server(peer: Peer, packet: Packet, now: float) -> Drop | None:
        server = peer._local.server
        return send(peer if peer.paths is None or server is None else server, packet, now)

    def take_from_server(receiver: Receiver, peer: Peer, payload: Packet, now: float) -> Drop | None:
        drop = route(receiver, peer, payload, now)
        if drop is Drop.SOURCE_NOT_ALLOWED and peer is receiver._local.server:
            receiver._outbox.deliver.append(payload)
            return None
        return drop

    _replace(Peer, "send_packet", send_by_server)
    _replace(Receiver, "_route_in", take_from_server)


@_mutant("isolation-of-introductions-only")
def _isolation_of_introductions_only() -> None:
    """Whom the server neither introduces nor relays, it routes for all the same."""
    route = Receiver._route_in

    def route_between(receiver: Receiver, peer: Peer, payload: Packet, now: float) -> Drop | None:
        drop = route(receiver, peer, payload, now)
        if drop is Drop.ISOLATED:
            target = receiver._local.routes.lookup(ip_destination(payload.bare))
            return drop if target is None else target.send_packet(payload, now)
        return drop

    _replace(Receiver, "_route_in", route_between)


@_mutant("cookie-mac1-unchecked")
def _mac1_unchecked() -> None:
    """A stranger's handshake is worth the cost of a key agreement."""
    _replace(MacChecker, "mac1_is_valid", lambda _checker, _message: True)


@_mutant("cookie-mac2-unchecked")
def _mac2_unchecked() -> None:
    """Under load nobody has to prove its address."""
    _replace(MacChecker, "mac2_is_valid", lambda _checker, _message, _source, _now: True)


@_mutant("noise-preshared-key-ignored")
def _preshared_key_ignored() -> None:
    """The pre-shared key is not mixed in."""
    mix = _Transcript.mix_preshared_key

    def mix_zeros(transcript: _Transcript, _preshared_key: bytes) -> bytes:
        return mix(transcript, bytes(KEY_SIZE))

    _replace(_Transcript, "mix_preshared_key", mix_zeros)


@_mutant("control-socket-for-everybody")
def _socket_for_everybody() -> None:
    """Every user of the machine may read the status and change the configuration."""
    make = ControlServer.__init__

    def make_open(
        server: ControlServer, path: Path, poller: Poller, handle: Callable[[Request, Answer], None]
    ) -> None:
        make(server, path, poller, handle)
        path.chmod(0o666)

    _replace(ControlServer, "__init__", make_open)


# What is remembered, and for how long.


@_mutant("peer-keys-never-erased")
def _keys_never_erased() -> None:
    """Old keys stay in memory."""
    _replace(Peer, "_erase", lambda _peer: None)


@_mutant("peer-stage-unbounded")
def _stage_unbounded() -> None:
    """All packets wait for a session, however many there are."""

    def stage(peer: Peer, packet: Buffer, now: float) -> None:
        peer._staged.append(bytes(packet))
        peer.want_handshake(now)

    _replace(Peer, "_stage", stage)


@_mutant("rekey-forgets-the-old-session")
def _rekey_forgets() -> None:
    """A new session replaces the old one at once, and what is still under way on that is lost."""
    install_session = Keyring.install_initiated

    def install_alone(keyring: Keyring, session: Session) -> list[Session]:
        fallen = install_session(keyring, session)
        if keyring.previous is not None:
            fallen.append(keyring.previous)
            keyring.previous = None
        return fallen

    _replace(Keyring, "install_initiated", install_alone)


# Direct paths: what counts as one, and for how long it is looked for.


@_mutant("path-exists-means-connected")
def _exists_means_connected() -> None:
    """A way that is known is a way that works."""
    take = Paths.introduced

    def take_and_use(paths: Paths, frame: Introduce, now: float) -> Drop | None:
        drop = take(paths, frame, now)
        if paths.active is None and paths._paths.by_endpoint:
            paths._use(next(iter(paths._paths.by_endpoint.values())), "it exists", now)
        return drop

    _replace(Paths, "introduced", take_and_use)


@_mutant("path-heard-means-connected")
def _heard_means_connected() -> None:
    """Whom one hears, one is heard by."""
    hear = Paths.heard

    def hear_and_use(paths: Paths, source: Place, now: float) -> None:
        hear(paths, source, now)
        if isinstance(source, Endpoint) and paths.active is None and source in paths._paths.by_endpoint:
            paths._use(paths._paths.by_endpoint[source], "something was heard on it", now)

    _replace(Paths, "heard", hear_and_use)


@_mutant("path-time-keeps-it-alive")
def _time_keeps_it_alive() -> None:
    """A path that was proven once stays so: a timer sees to it."""
    _replace(Active, "doubted_at", lambda _active: math.inf)

    def never_lost(_active: Active, *, warm: bool) -> float:
        del warm
        return math.inf

    _replace(Active, "lost_at", never_lost)


@_mutant("path-avoided-is-trusted")
def _avoided_is_trusted() -> None:
    """What the other side thinks of a path is the other side's affair."""

    def never(_active: Active, _now: float) -> bool:
        return False

    _replace(Active, "is_avoided", never)


@_mutant("channel-waits-for-the-hello")
def _channel_waits() -> None:
    """Nothing is asked of a server that has not said yet what it speaks."""

    def ask_not(_requests: ChannelRequests, _now: float) -> None:
        return

    _replace(ChannelRequests, "ask_early", ask_not)


@_mutant("announce-five-times-and-never-again")
def _announce_five_times() -> None:
    """Whoever has not heard five announcements will not hear a sixth."""
    announce = Announcer._announce

    def announce_while_it_is_young(announcer: Announcer, now: float) -> None:
        if announcer._tries < 5:
            announce(announcer, now)

    _replace(Announcer, "_announce", announce_while_it_is_young)


@_mutant("announce-without-acknowledgement")
def _announce_without_acknowledgement() -> None:
    """What was sent has arrived."""
    announce = Announcer._announce

    def announce_once(announcer: Announcer, now: float) -> None:
        announce(announcer, now)
        announcer._timers.disarm(Timer.ANNOUNCE)

    _replace(Announcer, "_announce", announce_once)


@_mutant("attempt-only-once")
def _attempt_only_once() -> None:
    """A pair that has been tried is not tried again."""
    begin = Paths.begin_if_wanted

    def begin_the_first(paths: Paths, now: float) -> None:
        if not paths.direct_attempts:
            begin(paths, now)

    _replace(Paths, "begin_if_wanted", begin_the_first)


@_mutant("attempt-without-back-off")
def _attempt_without_back_off() -> None:
    """After a failure the next attempt begins at once."""
    _replace(Backoff, "next", lambda _backoff: 0.0)


@_mutant("attempt-never-over")
def _attempt_never_over() -> None:
    """An attempt that finds nothing stays, and no other can begin."""
    _replace(Attempt, "is_over", lambda _attempt, _now: False)
