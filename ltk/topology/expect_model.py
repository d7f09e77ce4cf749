"""The keys `checks` and `run` of a topology file, typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from ltk.topology.expected import Claim, Via
from ltk.topology.form import Spec, read_by, refusal, text
from ltk.topology.quantities import duration_text, parse_duration, parse_rate, parse_share
from ltk.topology.values import UnreadableError, quote

MAX_WITHIN = 600_000_000  # microseconds; who has waited ten minutes has seen that it does not happen
MAX_COMMAND = 4096  # characters
RUN_WORD: Final = "<word>"  # the tags of the model's other unions, which are taken out of paths of errors
RUN_MAPPING: Final = "<mapping>"
ONLY_REACH = ("via", "loss", "throughput")  # keys that say more of a way


def _command(value: object) -> str:
    if not isinstance(value, str):
        raise UnreadableError(f"should be a shell command, is {quote(value)}", "such as python3 server.py")
    if not value.strip() or "\0" in value or len(value) > MAX_COMMAND:
        raise UnreadableError(f"should be a shell command of at most {MAX_COMMAND} characters")
    return value


def _throughput(value: object) -> int:
    rate = parse_rate(value)
    if not rate:
        raise UnreadableError("should be a rate, is unlimited", "such as 50mbit")
    return rate


def _within(value: object) -> int:
    microseconds = parse_duration(value)
    if not 0 < microseconds <= MAX_WITHIN:
        raise UnreadableError(f"should be more than 0s and at most {duration_text(MAX_WITHIN)}, is {value}")
    return microseconds


def _shape_of_run(value: object) -> str:
    return RUN_MAPPING if isinstance(value, Mapping | ProgramSpec) else RUN_WORD


Command: TypeAlias = Annotated[str, read_by(_command), text(None, ["python3 server.py"])]
Within: TypeAlias = Annotated[int, read_by(_within), text(r"^[0-9]+(\.[0-9]+)? ?(us|ms|s)$", ["5s"])]
Loss: TypeAlias = Annotated[int, read_by(parse_share), text(r"^[0-9]+(\.[0-9]+)? ?%$", ["1%"])]
Throughput: TypeAlias = Annotated[
    int, read_by(_throughput), text(r"^[0-9]+(\.[0-9]+)? ?[kmg]?bit$", ["50mbit"])
]
Ends: TypeAlias = Annotated[
    tuple[str, ...], Field(min_length=2, max_length=2, examples=[["alice", "bob"]])
]  # from, to


class ProgramSpec(Spec):
    """A shell command, and where it runs."""

    command: Command
    """What /bin/sh runs."""
    folder: str | None = Field(default=None, min_length=1, examples=["."])
    """Where it runs, relative to the topology's folder. Default: that folder."""


_A_FAULT = {"type": "string", "examples": ["flush-nat home"]}
Faults: TypeAlias = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
    WithJsonSchema({"anyOf": [_A_FAULT, {"type": "array", "items": _A_FAULT}]}),
]
Run: TypeAlias = Annotated[
    Annotated[Command, Tag(RUN_WORD)] | Annotated[ProgramSpec, Tag(RUN_MAPPING)],
    Discriminator(_shape_of_run),
]


class CheckSpec(Spec):
    """One thing that has to hold in the lab; exactly one of reach, unreachable and run says which."""

    name: str | None = Field(default=None, min_length=1, max_length=120, examples=["home reaches office"])
    """What it is called in reports. Default: made of what it says."""
    reach: Ends | None = None
    """Two nodes: what the first sends reaches the second, and the answer comes back."""
    unreachable: Ends | None = None
    """Two nodes: nothing that the first sends arrives at the second."""
    run: Run | None = None
    """A shell command that has to end with the status 0, in the node `on`."""
    on: str | None = Field(default=None, examples=["alice"])
    """The node in which `run` runs."""
    via: Via = Via.ANY
    """The way that packets between two clients have to take: direct, relay or any."""
    within: Within | None = None
    """By when it has to hold; of unreachable, for how long. Default: 10s; of unreachable 2s, of run 60s."""
    loss: Loss | None = None
    """How many packets may be lost at most once the way is there, such as 1%."""
    throughput: Throughput | None = None
    """How much TCP has to carry at least once the way is there, such as 50mbit."""
    after: Faults = ()
    """A fault, or a list of some, as ltk fault takes them: they begin before it and end after it."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> CheckSpec:
        given = [claim.value for claim in Claim if getattr(self, claim.value) is not None]
        if len(given) != 1:
            words = " and ".join(given) or "none of them"
            raise refusal(f"should have exactly one of reach, unreachable and run, has {words}")
        if (self.run is None) is not (self.on is None):
            raise refusal(
                "should have both run and on, or neither: the command, and the node in which it runs"
            )
        stray = [key for key in ONLY_REACH if key in self.model_fields_set and self.reach is None]
        if stray:
            raise refusal(f"should not have {' or '.join(stray)}, which only reach can have")
        return self

    @property
    def claim(self) -> Claim:
        """Which of the three it is."""
        return next(claim for claim in Claim if getattr(self, claim.value) is not None)
