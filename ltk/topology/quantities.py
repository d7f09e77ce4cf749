"""Quantities with a unit in a topology file, read into whole numbers that compare and render exactly."""

from __future__ import annotations

import re
from decimal import Decimal

from ltk.topology.values import UnreadableError, quote

MICROSECONDS = {"us": 1, "ms": 1_000, "s": 1_000_000}  # by unit
PARTS_PER_MILLION = 1_000_000
BITS = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}  # a second, by unit
UNLIMITED = "unlimited"
MIN_RATE, MAX_RATE = BITS["kbit"], 100 * BITS["gbit"]  # a packet in 12 s, and more than any link here has

_QUANTITY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(us|ms|s|%|[kmg]?bit)")


def parse_duration(value: object) -> int:
    """Microseconds, of a number and its unit: 20ms, 1.5s, 250us."""
    number, unit = _parts(value)
    if unit not in MICROSECONDS:
        raise UnreadableError(f"should be a duration, is {quote(value)}", "such as 20ms, 1.5s or 250us")
    return _whole(number * MICROSECONDS[unit], value, "a microsecond")


def parse_share(value: object) -> int:
    """Parts per million, of a percentage from 0% to 100%."""
    number, unit = _parts(value)
    if unit != "%" or number > 100:
        raise UnreadableError(f"should be from 0% to 100%, is {quote(value)}", "such as 0.5%")
    return _whole(number * PARTS_PER_MILLION / 100, value, "0.0001%")


def parse_rate(value: object) -> int:
    """Bits per second, of a number and its unit: 50mbit, 1.5gbit, 64kbit; 0 for `unlimited`."""
    if value == UNLIMITED:
        return 0
    number, unit = _parts(value)
    if unit not in BITS:
        raise UnreadableError(f"should be a rate, is {quote(value)}", "such as 50mbit, 64kbit or unlimited")
    rate = _whole(number * BITS[unit], value, "a bit")
    if not MIN_RATE <= rate <= MAX_RATE:
        words = f"should be from {rate_text(MIN_RATE)} to {rate_text(MAX_RATE)}, is {quote(value)}"
        raise UnreadableError(words, "or unlimited")
    return rate


def rate_text(bits: int) -> str:
    """The shortest text that `parse_rate` reads as this rate, in bits per second."""
    if not bits:
        return UNLIMITED
    unit = next(unit for unit in ("gbit", "mbit", "kbit", "bit") if bits >= BITS[unit])
    return f"{_decimal(Decimal(bits) / BITS[unit])}{unit}"


def duration_text(microseconds: int) -> str:
    """The shortest text that `parse_duration` reads as this duration."""
    unit = "s" if microseconds >= MICROSECONDS["s"] else "ms"
    return f"{_decimal(Decimal(microseconds) / MICROSECONDS[unit])}{unit}"


def share_text(parts_per_million: int) -> str:
    """The percentage that `parse_share` reads as this share."""
    return f"{_decimal(Decimal(parts_per_million) * 100 / PARTS_PER_MILLION)}%"


def _parts(value: object) -> tuple[Decimal, str]:
    """The number and the unit; the unit is empty where the text is neither."""
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    return (Decimal(found[1]), found[2]) if found else (Decimal(0), "")


def _whole(number: Decimal, value: object, least: str) -> int:
    if number != int(number):
        raise UnreadableError(f"should be a multiple of {least}, is {quote(value)}")
    return int(number)


def _decimal(number: Decimal) -> str:
    return f"{number:f}".rstrip("0").rstrip(".") if "." in f"{number:f}" else f"{number:f}"
