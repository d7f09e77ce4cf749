"""The ways to one client: the relay, and direct paths, each of which must be proven to be used.

A **path** is an endpoint at which the client may be reached. It is proven by one thing only: a random
challenge of this node, sealed in the session and sent to that endpoint, comes back from exactly
there. What is heard on a path proves nothing about the other direction, and time proves nothing at all.

An **attempt** (see attempt) probes all that is known of the client, until a first proof or in vain. The best
proven path becomes **active** and carries the data; until one is, and as soon as it is in doubt, the
relay does. A failure is a state like any other: after a while, and at once when either side's candidates
change, there is the next attempt.

    what             when                                       then
    oldest probe     unanswered for 0.5 s (or 1.5 round trips)  doubt: data over both, probes every 0.1 s
    the other side   speaks by the relay alone for 0.4 s        doubt
    doubt            0.5 s later                                lost: the relay alone, and a new attempt
    idle path        three probes, 1 s apart, unanswered        lost
    lost again       the k-th time in 5 minutes                 not used again for 0, 5, 15, 60, 60 … s
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from ltk.protocol.active import Active
from ltk.protocol.attempt import Attempt, is_better, nat_hint
from ltk.protocol.config import P2p, PathPolicy, PeerConfig
from ltk.protocol.drops import Drop
from ltk.protocol.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CandidateStatus,
)
from ltk.protocol.frames import (
    CHALLENGE_SIZE,
    Candidate,
    CandidateKind,
    Expect,
    Introduce,
    Nat,
    NotAvailable,
)
from ltk.protocol.local import Local
from ltk.protocol.messages import Endpoint, Place, Relay
from ltk.protocol.path import Path, PathTable, relay_status
from ltk.protocol.search import Search
from ltk.protocol.setbacks import Backoff, Setbacks
from ltk.protocol.surroundings import Carrier
from ltk.protocol.timers import Timer, Timers
from ltk.protocol.ways import Ways

WANTED_FOR = 60.0  # seconds since the last data, in which an on-demand pair looks for a direct path
WARM_FOR = 30.0  # seconds since the last data, in which a path is watched closely


class Paths(Ways):
    """All ways to one client, and which of them carries its data. The attributes of its own count."""

    __slots__ = (
        "_attempt",
        "_last_data",
        "_last_introduced",
        "_paths",
        "_peer",
        "_search",
        "_setbacks",
        "_their_nat",
        "_timers",
        "direct_attempts",
        "direct_failures",
        "direct_successes",
        "switches",
    )

    def __init__(self, config: PeerConfig, local: Local, peer: Carrier) -> None:
        """Know nothing but what is configured; nothing is sent before data or an introduction."""
        super().__init__(config, local)
        self._peer = peer
        self._timers = Timers(local.queue, self._on_timer)
        self.direct_attempts = self.direct_successes = self.direct_failures = self.switches = 0
        self._setbacks = Setbacks(Backoff(local.jitter))
        self._last_introduced = 0
        self._their_nat = Nat()
        self._last_data = float("-inf")
        rises = local.identity.public < config.public_key
        self._search = Search(local, peer, rises=rises, try_at=self._try_at)
        self._forget()

    def _forget(self) -> None:
        self._paths = PathTable(self._local.is_outside)
        self._active = None
        self._attempt: Attempt | None = None
        self._setbacks = Setbacks(self._setbacks.backoff)
        if self._config.endpoint is not None and self._config.may_be_direct:
            self._paths.add(Candidate(CandidateKind.CONFIGURED, self._config.endpoint))

    # Configuration, and the end.

    def configure(self, config: PeerConfig, now: float) -> None:
        """Take a changed configuration: what it no longer allows is not used any more."""
        old, self._config = self._config, config
        if (old.endpoint, old.p2p, old.path) == (config.endpoint, config.p2p, config.path):
            return
        active = self._active
        self._forget()
        if active is not None and config.may_be_direct:
            self._active = active
            self._paths.keep(active.path)
        self._timers.disarm_all()
        self._search.end(self._socket, now)
        self._refresh("the configuration was changed")
        self.begin_if_wanted(now)

    def forget(self, reason: str) -> None:
        """Forget every way, for `reason`: the client has gone."""
        self._forget()
        self.relay = None
        self.close()
        self._last_data = float("-inf")
        self._refresh(reason)

    def close(self) -> None:
        """Owe nothing any more, and hold nothing."""
        self._timers.disarm_all()
        self._search.end(0, inf)

    # What happens on the way.

    def use_relay(self, relay: Relay, now: float) -> None:
        """Reach the client by this channel, if need be, from now on."""
        self.relay = relay
        self._refresh("the relay's channel is open")
        self._peer.way_found(now)

    def data_sent(self, now: float) -> None:
        """Note that a packet for the client was sent, or waits."""
        active = self._active
        if active is None:
            self.data_heard(now)
            return
        self._last_data = now
        if active.mirrored and active.mirrors_last():
            self._refresh("")
        if now >= active.probe_due:
            self._probe(active.path, now)
            self._arm(now)

    def data_heard(self, now: float) -> None:
        """Note that a packet of the client arrived, or one for it was sent: this pair is in use."""
        self._last_data = now
        if self._active is None and self._attempt is None and now >= self._setbacks.not_before:
            self.begin_if_wanted(now)

    def heard(self, source: Place, now: float) -> None:
        """Note where an authentic message came from. A new source may be a path; it is to be proven."""
        active = self._active
        if isinstance(source, Relay):
            if source != self.relay:
                self.use_relay(source, now)
            if active is not None and active.is_avoided(now):
                # Who only answers has nothing to send while the other's packets are lost, and so nothing
                # to probe for: it would find out half a second later than the other.
                active.doubted = True
                self._refresh("")
            return
        if source.socket:
            if source.socket not in self._search.held:
                return  # it is another pair's, or closed already
            self._search.held.heard(source.socket, now)
        if active is not None and source == active.path.endpoint:
            active.last_heard = now
        elif (known := self._paths.by_endpoint.get(source)) is not None:
            if not known.was_heard:
                known.found_by = self._search.found_by()
            known.was_heard = True
        elif self._config.may_be_direct:
            path = self._paths.add(Candidate(CandidateKind.PEER_REFLEXIVE, source), self._active_path)
            if path is not None:
                path.found_by = self._search.found_by()
                self._probe(path, now)
                self._probe_active(now)  # the client may have moved
                self._arm(now)

    def replied(self, challenge: bytes, source: Place, now: float) -> Drop | None:
        """Take a PROBE_REPLY; only what was asked on that very path proves it."""
        if isinstance(source, Relay):
            return None  # that the session lives, which has been noted
        if self._search.is_own(challenge):
            return None  # where one of many probes went is known only by where this comes from
        path = self._paths.by_endpoint.get(source)
        asked = None if path is None else path.answered(challenge, now)
        if path is None or asked is None:
            return Drop.UNASKED_REPLY
        attempt = self._attempt
        if attempt is not None and not attempt.proven:
            attempt.proven = True
            self.direct_successes += 1
            self._setbacks.backoff.reset()
            self._search.stop()
            self._local.outbox.events.append(
                AttemptSucceeded(self._config.name, attempt.number, path.endpoint)
            )
        self._consider(path, asked, now)
        self._tend(now)
        return None

    def _consider(self, path: Path, asked: float, now: float) -> None:
        """Use a path that has just been proven by what was asked at `asked`, if it is the best."""
        active = self._active
        if active is not None and path is active.path:
            if active.was_proven(now):
                self._refresh("")
        elif now < self._setbacks.held_until:
            return
        elif active is None:
            self._use(path, "a probe was answered", now)
        elif active.path.has_missed(asked):
            self._use(path, "a probe was answered there and not on the path before", now)
        elif is_better(path, active.path):
            self._use(path, "a probe was answered on a better path", now)

    def _use(self, path: Path, reason: str, now: float) -> None:
        if self._active is None:
            self.switches += 1
        self._active = Active(path, now)
        if path.kind is CandidateKind.EXPECTED:
            path.found_by = self._search.describe()
        self._refresh(reason)
        self._peer.way_found(now)

    # Attempts.

    @property
    def is_wanted(self) -> bool:
        """Whether a direct path is looked for without any data, that is always."""
        return self._config.p2p is P2p.EAGER

    def in_use(self, now: float) -> bool:
        """Whether the pair has exchanged data lately."""
        return now - self._last_data <= WANTED_FOR

    def relies_on_relay(self, now: float) -> bool:
        """Whether the relay's channel carries the data of a pair in use."""
        return self._active is None and self.relay is not None and self.in_use(now)

    def begin_if_wanted(self, now: float) -> None:
        """Start an attempt where there is a reason to, and nothing that forbids it."""
        if (
            self._attempt is not None
            or not self._config.may_be_direct
            or now < self._setbacks.next_try
            or not (self.is_wanted or self.in_use(now))
        ):
            return
        attempt = Attempt(self._local.attempt_number(now), now, asks=True)
        if not self._peer.connect(attempt.number, now) and not self._paths:
            self._setbacks.why = "there is no server to be introduced by"
            return
        self._start(attempt, now)

    def candidates_changed(self, now: float) -> None:
        """Note that this node is to be reached elsewhere: what failed may work now, what worked may not."""
        self._setbacks.forgive()
        self._probe_active(now)
        if self.is_wanted or self.in_use(now):
            self._end_attempt(now)
            self.begin_if_wanted(now)
        self._arm(now)

    def introduced(self, frame: Introduce, now: float) -> Drop | None:
        """Take the other side's candidates, for this node's attempt or for one of the other's."""
        if not self._config.may_be_direct:
            return Drop.UNEXPECTED_FRAME
        attempt = self._attempt
        if frame.asked:
            if attempt is None or attempt.number != frame.attempt:
                return Drop.STALE_ATTEMPT
        elif frame.attempt <= self._last_introduced:
            return Drop.STALE_ATTEMPT
        else:
            self._last_introduced = frame.attempt
        self._their_nat = frame.nat
        is_news = self._paths.replace_announced(frame.candidates, self._active_path)
        self._probe_active(now)  # the other side looks for a path: it may not have this one any more
        if attempt is None:
            attempt = Attempt(frame.attempt, now, asks=False)
            self._begin_search(attempt, frame, now)
            self._start(attempt, now)
            return None
        if is_news or not attempt.introduced:
            attempt.restart(now)
        self._begin_search(attempt, frame, now)
        self._tend(now)
        return None

    def _begin_search(self, attempt: Attempt, frame: Introduce, now: float) -> None:
        attempt.introduced = True
        target = frame.candidates[0].endpoint if frame.candidates else None
        failures = self._setbacks.backoff.failures
        self._search.begin(frame.nat, target, self._config.hard_nat, failures, now)

    def expected(self, frame: Expect, now: float) -> Drop | None:
        """Take where the other side is about to be seen, in an attempt at which both are."""
        if not self._config.may_be_direct:
            return Drop.UNEXPECTED_FRAME
        if self._attempt is None or self._attempt.proven:
            return Drop.STALE_ATTEMPT
        drop = self._search.expected(frame, now)
        self._tend(now)
        return drop

    def _try_at(self, endpoint: Endpoint, now: float) -> None:
        """Probe one more path in this attempt, from the start."""
        if self._attempt is None:
            return
        if self._paths.add(Candidate(CandidateKind.EXPECTED, endpoint), self._active_path) is not None:
            self._attempt.restart(now)
        self._tend(now)

    def not_available(self, frame: NotAvailable, reason: str) -> Drop | None:
        """Note that the server introduces nobody. Who is offline may come, and is asked for again."""
        attempt = self._attempt
        if attempt is None or attempt.number != frame.attempt:
            return Drop.STALE_ATTEMPT
        self._setbacks.refusal = reason
        return None

    def session_started(self, now: float) -> None:
        """Note that there is a session that can seal: what waited for it begins."""
        if self._attempt is not None and not self._attempt.probed:
            self._attempt.restart(now)
        for path in self._paths.unproven():
            self._probe(path, now)
        self._tend(now)

    def _start(self, attempt: Attempt, now: float) -> None:
        self._attempt = attempt
        self._setbacks.refusal = ""
        self.direct_attempts += 1
        self._local.outbox.events.append(AttemptStarted(self._config.name, attempt.number))
        self._tend(now)

    def _run_attempt(self, attempt: Attempt, now: float) -> None:
        if attempt.connect_is_due(now):
            self._peer.connect(attempt.number, now)
        if attempt.probes_are_due(now):
            for path in self._paths.others(self._active_path):
                if self._probe(path, now):
                    attempt.probed = True
                    self._search.count(path.kind)
        self._search.tend(now)
        if attempt.is_over(now, self._search.busy_until):
            if self._active is None:
                self._fail(attempt, now)
            self._end_attempt(now)

    def _end_attempt(self, now: float) -> None:
        self._attempt = None
        self._paths.close(self._search.end(self._socket, now), self._active_path)

    def _fail(self, attempt: Attempt, now: float) -> None:
        if attempt.proven:  # by a path that is not trusted yet
            self._setbacks.distrust()
            return
        reason = self._setbacks.refusal
        if not reason or attempt.introduced:
            hint = nat_hint(self._local.nat, self._their_nat)
            reason = attempt.why_in_vain(len(self._paths.by_endpoint), self._search.describe(), hint)
        if self._search.is_waiting:
            self._setbacks.backoff.reset()  # others had their turn: that was no attempt
        wait = self._setbacks.failed(reason, now)
        self.direct_failures += 1
        self._local.outbox.events.append(AttemptFailed(self._config.name, attempt.number, reason, wait))
        self._peer.no_way_found()

    # Time.

    @property
    def probes(self) -> Mapping[str, int]:
        """How many probes were sent by each way of looking for a path."""
        return self._search.probes

    def _probe(self, path: Path, now: float) -> bool:
        challenge = self._local.random(CHALLENGE_SIZE)
        hops = 0 if self._attempt is None or not path.is_guarded else self._attempt.hops
        if not self._peer.probe(path.endpoint, challenge, now, hops):
            return False
        path.asked(challenge, now)
        if self._active is not None and path is self._active.path:
            self._active.was_probed(now)
        return True

    def _probe_active(self, now: float) -> None:
        if self._active is not None:
            self._probe(self._active.path, now)

    def _on_timer(self, _timer: Timer, now: float) -> None:
        self._tend(now)

    def _tend(self, now: float) -> None:
        """Do all that is due, then wait for what comes next."""
        if self._active is not None:
            self._tend_active(self._active, now)
        if self._attempt is not None:
            self._run_attempt(self._attempt, now)
        elif self._active is None:
            self.begin_if_wanted(now)
        if self._attempt is None and self._search.held:
            self._paths.close(self._search.tidy(self._socket, now), self._active_path)
        self._arm(now)

    def _tend_active(self, active: Active, now: float) -> None:
        warm = self._is_warm(now)
        if active.mirrored and now >= active.mirror_until:
            active.mirrored = 0
            self._refresh("")
        if active.lost_at(warm=warm) <= now:
            silence = now - (active.path.waits_since or now)
            self._lose(f"no probe was answered for {silence:.1f} s", now)
        elif active.next_probe(warm=warm) <= now and not self._probe(active.path, now):
            self._lose("there is no session to prove it in", now)
        elif warm and not active.doubted and active.is_silent(now):
            active.doubted = True
            self._refresh("")

    def _is_warm(self, now: float) -> bool:
        return now - self._last_data < WARM_FOR

    def _lose(self, reason: str, now: float) -> None:
        if self._active is not None:
            self._active.path.give_up()
        self._active = None
        self.switches += 1
        self._setbacks.lost(reason, now)
        self._end_attempt(now)
        self._refresh(reason)

    def _arm(self, now: float) -> None:
        moments: list[float] = []
        active, attempt = self._active, self._attempt
        if active is not None:
            warm = self._is_warm(now)
            moments += (active.next_probe(warm=warm), active.doubted_at(), active.lost_at(warm=warm))
            moments.append(active.mirror_until)
        if attempt is not None:
            moments += (attempt.next_moment(self._search.busy_until), self._search.next_moment())
        elif active is None and self._config.may_be_direct and (self.is_wanted or self.in_use(now)):
            moments.append(self._setbacks.next_try)
        moments.append(self._search.held.next_moment(self._socket))
        # What is past already waits for something else, such as a session or the server.
        self._timers.arm(Timer.TEND_PATHS, min((at for at in moments if at > now), default=inf))

    # What there is to tell.

    @property
    def rtt(self) -> float | None:
        """The round trip of the active path in seconds."""
        return None if self._active is None else self._active.path.srtt

    def explain(self, now: float) -> str:
        """Return why data takes the way it takes, without naming it."""
        active = self._active
        if active is not None and active.path.last_proof is not None:
            state = "in doubt, " if active.doubted else ""
            found = f"{active.path.found_by}; " if active.path.found_by else ""
            return f"{found}{state}probe answered {now - active.path.last_proof:.1f} s ago"
        if self._config.path is PathPolicy.RELAY_ONLY:
            return "the topology says so"
        if self._config.p2p is P2p.OFF:
            return "direct paths are off"
        if self._attempt is not None:
            before = f"; before, {self._setbacks.why}" if self._setbacks.why else ""
            return f"looking for a direct path for {now - self._attempt.started:.1f} s{before}"
        return self._setbacks.explain(now)

    def why(self, now: float) -> tuple[CandidateStatus, ...]:
        """Return every way with what is known of it, direct ones first."""
        doubted = self._active is not None and self._active.doubted
        ways = self._paths.status(now, self._active_path, doubted=doubted)
        return (
            ways if self.relay is None else (*ways, relay_status(self.relay, used=self.relay in self.places))
        )
