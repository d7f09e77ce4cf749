"""The endpoints at which a client may be reached: what was asked of each, and what came back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ltk.protocol.events import CandidateState, CandidateStatus
from ltk.protocol.frames import Candidate, CandidateKind
from ltk.protocol.messages import Endpoint, Relay

MAX_PATHS = 8  # per client; the least promising makes room
MAX_PENDING = 16  # challenges; a second and a half of probes in doubt
RTT_WEIGHT = 1 / 8  # of a new measurement (RFC 6298, section 2)


class Path:
    """An endpoint, and the proof that it works or the lack of it. Moments are in the engine's clock."""

    __slots__ = (
        "_pending",
        "endpoint",
        "found_by",
        "kind",
        "last_probe",
        "last_proof",
        "probes",
        "proofs",
        "srtt",
        "was_heard",
    )

    def __init__(self, endpoint: Endpoint, kind: CandidateKind) -> None:
        self.endpoint = endpoint
        self.kind = kind
        self.srtt = 0.0  # seconds; meaningless before the first proof
        self.last_probe = float("-inf")
        self.last_proof: float | None = None
        self.probes = self.proofs = 0
        self.was_heard = False  # anything, ever
        self.found_by = ""  # what it took, where that was more than plain probing
        self._pending: dict[bytes, float] = {}  # challenge -> when it was sent, oldest first

    @property
    def is_announced(self) -> bool:
        """Whether the other side has named it, so that the other side's silence about it counts."""
        return self.kind in (CandidateKind.HOST, CandidateKind.OBSERVED)

    @property
    def is_guarded(self) -> bool:
        """Whether there may be a router that must not see a probe before the host behind it has sent one."""
        is_far = self.kind in (CandidateKind.OBSERVED, CandidateKind.EXPECTED)
        return is_far and not self.was_heard and self.last_proof is None

    @property
    def waits_since(self) -> float | None:
        """When the oldest probe that is not answered was sent."""
        return next(iter(self._pending.values()), None)

    @property
    def last_sign(self) -> float:
        """When it was last probed or proven."""
        return self.last_probe if self.last_proof is None else max(self.last_probe, self.last_proof)

    def asked(self, challenge: bytes, now: float) -> None:
        """Note that a probe was sent."""
        if len(self._pending) >= MAX_PENDING:
            # The oldest stays, since it tells for how long there has been no answer.
            del self._pending[list(self._pending)[1]]
        self._pending[challenge] = now
        self.last_probe = now
        self.probes += 1

    def answered(self, challenge: bytes, now: float) -> float | None:
        """Take the answer to a probe: when that was sent; None where it was not, or is answered already.

        Older probes are answered by it as well, as far as it matters: the path works.
        """
        sent = self._pending.get(challenge)
        if sent is None:
            return None
        self._pending = {other: at for other, at in self._pending.items() if at > sent}
        sample = now - sent
        self.srtt = sample if self.last_proof is None else self.srtt + RTT_WEIGHT * (sample - self.srtt)
        self.last_proof = now
        self.proofs += 1
        return sent

    def has_missed(self, moment: float) -> bool:
        """Return whether a probe that was sent at `moment` or before is not answered."""
        return self.waits_since is not None and self.waits_since <= moment

    def give_up(self) -> None:
        """Expect no answer any more: what comes late proves nothing."""
        self._pending.clear()

    def promise(self) -> tuple[bool, float, bool, float]:
        """Return what orders paths by how little would be lost with them, least first."""
        proof = float("-inf") if self.last_proof is None else self.last_proof
        return (
            self.kind is CandidateKind.CONFIGURED,
            proof,
            self.kind is not CandidateKind.PEER_REFLEXIVE,
            self.last_probe,
        )

    def status(self, now: float, active: Path | None, *, doubted: bool) -> CandidateStatus:
        """Return what is known of it, and why it is `active` or not."""
        proven = self.last_proof is not None
        state: CandidateState
        if self is active:
            state = "doubted" if doubted else "active"
            reason = "probes are not answered" if doubted else "carries the data"
        elif not proven:
            state = "unproven"
            reason = f"{self.probes} probes, none answered" if self.probes else "not probed yet"
        elif active is None:
            state, reason = "unproven", "answered before, and no more"
        else:
            state, reason = "valid", "answered, but the path in use is as good"
        return CandidateStatus(
            endpoint=self.endpoint,
            kind=self.kind,
            state=state,
            probe_age=now - self.last_probe if self.probes else None,
            proof_age=None if self.last_proof is None else now - self.last_proof,
            rtt=self.srtt if proven else None,
            reason=reason,
        )


def relay_status(relay: Relay, *, used: bool) -> CandidateStatus:
    """Return what there is to tell of the relay's channel, and whether it carries data."""
    state: CandidateState = "active" if used else "standby"
    return CandidateStatus(relay, None, state, None, None, None, "carries the data" if used else "stands by")


class PathTable:
    """All paths that are known of one client, each endpoint once."""

    __slots__ = ("_is_outside", "by_endpoint")

    def __init__(self, is_outside: Callable[[Endpoint], bool]) -> None:
        """`is_outside(endpoint)` tells whether what others name may be an endpoint at all."""
        self._is_outside = is_outside
        self.by_endpoint: dict[Endpoint, Path] = {}

    def add(self, candidate: Candidate, active: Path | None = None) -> Path | None:
        """Know one more path, if need be in the place of another, but never of the `active` one.

        Return it, or None where it is known already or cannot be.
        """
        kind, endpoint = candidate
        known = self.by_endpoint.get(endpoint)
        if known is not None:
            known.kind = min(known.kind, kind)  # a host's own address is preferred, whoever said so first
            return None
        if kind is not CandidateKind.CONFIGURED and not self._is_outside(endpoint):
            return None
        if len(self.by_endpoint) >= MAX_PATHS:
            del self.by_endpoint[min(self.others(active), key=Path.promise).endpoint]
        path = self.by_endpoint[endpoint] = Path(endpoint, kind)
        return path

    def keep(self, path: Path) -> None:
        """Know a path with all that is known of it."""
        self.by_endpoint[path.endpoint] = path

    def replace_announced(self, candidates: Sequence[Candidate], active: Path | None) -> bool:
        """Keep of the announced paths only these, and add those that are new; return whether any is."""
        announced = {candidate.endpoint for candidate in candidates}
        for path in self.others(active):
            if path.is_announced and path.endpoint not in announced:
                del self.by_endpoint[path.endpoint]
        added = [self.add(candidate, active) for candidate in candidates]
        return any(path is not None for path in added)

    def close(self, sockets: Collection[int], active: Path | None) -> None:
        """Forget all paths by these sockets, and what was expected for a moment only."""
        for path in self.others(active):
            was_expected = path.kind is CandidateKind.EXPECTED and not path.was_heard
            if path.endpoint.socket in sockets or was_expected:
                del self.by_endpoint[path.endpoint]

    def status(self, now: float, active: Path | None, *, doubted: bool) -> tuple[CandidateStatus, ...]:
        """Return what is known of each."""
        return tuple(path.status(now, active, doubted=doubted) for path in self.by_endpoint.values())

    def others(self, active: Path | None) -> list[Path]:
        """Return all paths but the active one."""
        return [path for path in self.by_endpoint.values() if path is not active]

    def unproven(self) -> list[Path]:
        """Return those that never answered."""
        return [path for path in self.by_endpoint.values() if path.last_proof is None]
