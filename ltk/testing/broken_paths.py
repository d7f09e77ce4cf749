"""Direct paths, broken: in which order things happen, what counts as one, how long it is looked for."""

from __future__ import annotations

import dataclasses
import math

from ltk.protocol import status
from ltk.protocol.active import Active
from ltk.protocol.attempt import Attempt
from ltk.protocol.config import EngineConfig, PathPolicy, PeerConfig, PeerKind
from ltk.protocol.drops import Drop
from ltk.protocol.engine import Engine
from ltk.protocol.events import PathName, PeerRegistered
from ltk.protocol.frames import Introduce
from ltk.protocol.local import Local
from ltk.protocol.messages import Endpoint, Place
from ltk.protocol.paths import Paths
from ltk.protocol.peer import Peer
from ltk.protocol.relay import ChannelRequests
from ltk.protocol.rendezvous import Announcer
from ltk.protocol.roster import Roster
from ltk.protocol.setbacks import Backoff
from ltk.protocol.surroundings import Carrier
from ltk.protocol.timers import Timer
from ltk.protocol.vnet import Packet
from ltk.testing.breaking import mutant, replace

FIXED_SLEEP = 0.100  # seconds


@mutant("connect-before-registering")
def _connect_before_registering() -> None:
    """The puncher hears of a client first; its route, and the note of it, are made when that has begun."""
    take, send, begin = Engine._take_config, Peer.send_packet, Paths._start

    def take_and_register_later(engine: Engine, config: EngineConfig, now: float) -> None:
        take(engine, config, now)
        events = engine._outbox.events
        unknown = {peer.name for peer in config.peers if peer.kind is PeerKind.CLIENT}
        kept = [each for each in events if not (isinstance(each, PeerRegistered) and each.peer in unknown)]
        events.clear()
        events.extend(kept)

    def send_where_there_is_a_route(peer: Peer, packet: Packet, now: float) -> Drop | None:
        if peer.paths is not None and not peer.paths.direct_attempts:
            return Drop.NO_ROUTE
        return send(peer, packet, now)

    def begin_and_register(paths: Paths, attempt: Attempt, now: float) -> None:
        is_first = not paths.direct_attempts
        begin(paths, attempt, now)
        if is_first:
            paths._local.outbox.events.append(PeerRegistered(paths._config.name))

    replace(Roster, "_may_wait", lambda _roster, _config: False)
    replace(Engine, "_take_config", take_and_register_later)
    replace(Peer, "send_packet", send_where_there_is_a_route)
    replace(Paths, "_start", begin_and_register)
    replace(Paths, "is_wanted", property(lambda _paths: True))


@mutant("attempt-one-burst-after-a-sleep")
def _one_burst_after_a_sleep() -> None:
    """A tenth of a second is enough for everything to be in place, and then one burst for the path."""
    begin = Paths.begin_if_wanted

    def begin_once(paths: Paths, now: float) -> None:
        if not paths.direct_attempts:
            begin(paths, now)

    def after_the_sleep(attempt: Attempt) -> float:
        return math.inf if attempt._rounds else attempt.started + FIXED_SLEEP

    replace(Paths, "begin_if_wanted", begin_once)
    replace(Attempt, "_next_round", after_the_sleep)
    replace(Attempt, "restart", lambda _attempt, _now: None)


@mutant("path-exists-means-connected")
def _exists_means_connected() -> None:
    """A way that is known is a way that works."""
    take = Paths.introduced

    def take_and_use(paths: Paths, frame: Introduce, now: float) -> Drop | None:
        drop = take(paths, frame, now)
        if paths.active is None and paths._paths.by_endpoint:
            paths._use(next(iter(paths._paths.by_endpoint.values())), "it exists", now)
        return drop

    replace(Paths, "introduced", take_and_use)


@mutant("path-heard-means-connected")
def _heard_means_connected() -> None:
    """Whom one hears, one is heard by."""
    hear = Paths.heard

    def hear_and_use(paths: Paths, source: Place, now: float) -> None:
        hear(paths, source, now)
        if isinstance(source, Endpoint) and paths.active is None and source in paths._paths.by_endpoint:
            paths._use(paths._paths.by_endpoint[source], "something was heard on it", now)

    replace(Paths, "heard", hear_and_use)


@mutant("path-time-keeps-it-alive")
def _time_keeps_it_alive() -> None:
    """A path that was proven once stays so: a timer sees to it."""
    replace(Active, "doubted_at", lambda _active: math.inf)

    def never_lost(_active: Active, *, warm: bool) -> float:
        del warm
        return math.inf

    replace(Active, "lost_at", never_lost)


@mutant("path-avoided-is-trusted")
def _avoided_is_trusted() -> None:
    """What the other side thinks of a path is the other side's affair."""

    def never(_active: Active, _now: float) -> bool:
        return False

    replace(Active, "is_avoided", never)


@mutant("channel-waits-for-the-hello")
def _channel_waits() -> None:
    """Nothing is asked of a server that has not said yet what it speaks."""

    def ask_not(_requests: ChannelRequests, _now: float) -> None:
        return

    replace(ChannelRequests, "ask_early", ask_not)


@mutant("announce-five-times-and-never-again")
def _announce_five_times() -> None:
    """Whoever has not heard five announcements will not hear a sixth."""
    announce = Announcer._announce

    def announce_while_it_is_young(announcer: Announcer, now: float) -> None:
        if announcer._tries < 5:
            announce(announcer, now)

    replace(Announcer, "_announce", announce_while_it_is_young)


@mutant("announce-without-acknowledgement")
def _announce_without_acknowledgement() -> None:
    """What was sent has arrived."""
    announce = Announcer._announce

    def announce_once(announcer: Announcer, now: float) -> None:
        announce(announcer, now)
        announcer._timers.disarm(Timer.ANNOUNCE)

    replace(Announcer, "_announce", announce_once)


@mutant("announce-only-at-connect")
def _announce_only_at_connect() -> None:
    """What changes afterwards, and what is lost then, the server finds out by itself."""
    announce = Announcer._announce

    def announce_once(announcer: Announcer, now: float) -> None:
        if not announcer.acks:
            announce(announcer, now)

    replace(Announcer, "_announce", announce_once)


@mutant("attempt-only-once")
def _attempt_only_once() -> None:
    """A pair that has been tried is not tried again."""
    begin = Paths.begin_if_wanted

    def begin_the_first(paths: Paths, now: float) -> None:
        if not paths.direct_attempts:
            begin(paths, now)

    replace(Paths, "begin_if_wanted", begin_the_first)


@mutant("attempt-without-back-off")
def _attempt_without_back_off() -> None:
    """After a failure the next attempt begins at once."""
    replace(Backoff, "next", lambda _backoff: 0.0)


@mutant("attempt-never-over")
def _attempt_never_over() -> None:
    """An attempt that finds nothing stays, and no other can begin."""
    replace(Attempt, "is_over", lambda _attempt, _now, _busy_until: False)


@mutant("path-policy-ignored")
def _policy_ignored() -> None:
    """What the file says of a pair's ways is read, and not followed."""
    begin, configure = Paths.__init__, Paths.configure

    def begin_with_any(paths: Paths, config: PeerConfig, local: Local, peer: Carrier) -> None:
        begin(paths, dataclasses.replace(config, path=PathPolicy.AUTO), local, peer)

    def configure_with_any(paths: Paths, config: PeerConfig, now: float) -> None:
        configure(paths, dataclasses.replace(config, path=PathPolicy.AUTO), now)

    replace(Paths, "__init__", begin_with_any)
    replace(Paths, "configure", configure_with_any)


@mutant("path-idle-as-if-busy")
def _idle_as_if_busy() -> None:
    """A path without data is watched as closely as one with."""
    replace(Paths, "_is_warm", lambda _paths, _now: True)


@mutant("status-says-what-was-hoped")
def _status_says_what_was_hoped() -> None:
    """A client for which a direct path was ever looked for is told to be direct, whatever its data does."""
    tell = status._path

    def tell_the_best(peer: Peer, local: Local, now: float) -> tuple[PathName, Endpoint | None, str]:
        path, endpoint, reason = tell(peer, local, now)
        was_tried = peer.paths is not None and peer.paths.direct_attempts > 0
        return "direct" if was_tried and path == "relay" else path, endpoint, reason

    replace(status, "_path", tell_the_best)
