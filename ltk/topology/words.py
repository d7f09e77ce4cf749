"""What pydantic found wrong, in words for a person who has never heard of pydantic."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ltk.topology.form import OWN_WORDS
from ltk.topology.model import LIST_TAG, MAPPING_TAG, WORD_TAG, SecretSpec, TopologySpec
from ltk.topology.problems import Path
from ltk.topology.values import quote

SECRET_REMEDY = "write {file: PATH}, {env: NAME} or {command: …}; a secret never stands in the file itself"


def path_of(error: ErrorDetails) -> Path:
    """Where in the file the error is."""
    return tuple(part for part in error["loc"] if part not in (LIST_TAG, MAPPING_TAG, WORD_TAG))


def is_about_the_key(error: ErrorDetails) -> bool:
    """Whether the key itself is wrong, and not its value."""
    return error["type"] == "extra_forbidden"


def misspelt(error: ErrorDetails) -> str | None:
    """For an unknown key: the known one that was probably meant."""
    path = path_of(error)
    return _closest(str(path[-1]), _keys_at(path[:-1])) if is_about_the_key(error) else None


def words_for(error: ErrorDetails) -> str:
    """What is wrong, and in brackets what would be right."""
    path, given, context = path_of(error), error["input"], error.get("ctx", {})
    match error["type"]:
        case kind if kind == OWN_WORDS:
            return str(context["words"])
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return f"is not a key that is known here ({_suggestion(str(path[-1]), _keys_at(path[:-1]))})"
        case "model_type" if context.get("class_name") == SecretSpec.__name__:
            return f"should say where the secret is ({SECRET_REMEDY})"
        case "model_type" | "dict_type" | "model_attributes_type":
            keys = ", ".join(_keys_at(path))
            return f"should be a mapping, is {quote(given)}" + (f" (its keys are {keys})" if keys else "")
        case "tuple_type" | "list_type":
            return f"should be a list, is {quote(given)}"
        case "union_tag_not_found" | "union_tag_invalid":
            return f"should be a list of names, is {quote(given)} (such as [alice, bob])"
        case "enum":
            values = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
            return f"should be {_alternatives(values)}, is {quote(given)}" + _did_you_mean(given, values)
        case "int_type" | "int_from_float" | "int_parsing":
            return f"should be a whole number, is {quote(given)}" + _unquoted(given)
        case "bool_type":
            return f"should be true or false, is {quote(given)}"
        case "string_type":
            remedy = " (put it in quotes)" if isinstance(given, bool | int | float) else ""
            return f"should be text, is {quote(given)}{remedy}"
        case "greater_than_equal":
            return f"should be at least {context['ge']}, is {given}"
        case "less_than_equal":
            return f"should be at most {context['le']}, is {given}"
        case "too_short" if context["min_length"] > 1:
            return f"should have {context['min_length']} entries, has {context['actual_length']}"
        case "too_long":
            return f"should have {context['max_length']} entries, has {context['actual_length']}"
        case "too_short" | "string_too_short":
            return "should not be empty"
        case "string_too_long":
            return f"should have at most {context['max_length']} characters, has {len(str(given))}"
        case "string_pattern_mismatch":
            return f"should be {_in_words(str(context['pattern']))}, is {quote(given)}"
    return error["msg"][:1].lower() + error["msg"][1:]


def suggest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, as a remedy; empty where none is close."""
    closest = _closest(name, known)
    return f"did you mean {quote(closest)}?" if closest else ""


def _suggestion(name: str, known: list[str]) -> str:
    return suggest(name, known) or ("known are " + ", ".join(known) if known else "leave it out")


def _closest(name: str, known: Iterable[str]) -> str | None:
    folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold()[:64].replace("-", "_"), folded, n=1)
    close = close or difflib.get_close_matches(name.casefold()[:64], folded, n=1)
    return folded[close[0]] if close else None


def _did_you_mean(given: object, values: list[str]) -> str:
    remedy = suggest(given, values) if isinstance(given, str) else ""
    return f" ({remedy})" if remedy else ""


def _unquoted(given: object) -> str:
    return " (without the quotes)" if isinstance(given, str) and given.isascii() and given.isdecimal() else ""


def _alternatives(values: list[str]) -> str:
    return f"{', '.join(values[:-1])} or {values[-1]}" if len(values) > 1 else values[0]


def _in_words(pattern: str) -> str:
    """A pattern of the model, which is always "one first character, then the others"."""
    characters = ["letters", "digits"] + [f"'{mark}'" for mark in "_.-" if mark in pattern.rpartition("[")[2]]
    first = "a letter or '_'" if pattern.startswith("^[A-Za-z_]") else "a letter or digit"
    return f"made of {', '.join(characters[:-1])} and {characters[-1]}, beginning with {first}"


def _keys_at(path: Path) -> list[str]:
    """The keys that the model knows in the mapping at `path`; empty where any name may stand."""
    kind: Any = TopologySpec
    for part in path:
        kind = _inside(kind, part)
    return [field.alias or name for name, field in kind.model_fields.items()] if _is_model(kind) else []


def _inside(kind: Any, part: str | int) -> Any:
    if _is_model(kind):
        field = kind.model_fields.get(part)
        return _mapping_of(field.annotation) if field is not None else None
    if get_origin(kind) in (dict, Mapping):
        return _mapping_of(get_args(kind)[1])
    if get_origin(kind) is tuple:
        return _mapping_of(get_args(kind)[0])
    return None


def _mapping_of(kind: Any) -> Any:
    """The model, dict or tuple of models in an annotation, out of Optional, Annotated and unions."""
    if get_origin(kind) is Annotated:
        return _mapping_of(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        found = (_mapping_of(part) for part in get_args(kind))
        return next((part for part in found if part is not None), None)
    if get_origin(kind) is tuple:
        return kind if _is_model(get_args(kind)[0]) else None
    return kind if _is_model(kind) or get_origin(kind) is dict else None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
