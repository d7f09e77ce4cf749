"""What every mapping and value of a topology file's model is made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from ltk.topology.values import UnreadableError

OWN_WORDS: Final = "ltk"  # the type of errors whose message is already in our own words


class Spec(BaseModel):
    """A mapping of the file: the keys are known, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True)


def read_by(parse: Callable[[object], Any]) -> PlainValidator:
    """Have a value read by `parse`, whose UnreadableError becomes the model's, in the same words."""

    def validate(value: object) -> Any:
        try:
            return parse(value)
        except UnreadableError as error:
            raise refusal(error.words) from None

    return PlainValidator(validate)


def refusal(words: str) -> PydanticCustomError:
    """What a validator of the model raises to refuse a value with these words."""
    return PydanticCustomError(OWN_WORDS, "{words}", {"words": words})


def text(pattern: str | None, examples: list[str]) -> WithJsonSchema:
    """The JSON Schema of a text."""
    schema: dict[str, Any] = {"type": "string", "examples": examples}
    return WithJsonSchema(schema | ({"pattern": pattern} if pattern else {}))
