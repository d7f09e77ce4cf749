"""Which packets are wanted: a small language, `udp and (host 10.0.0.1 or port 53) and not in`.

    expression   term {"or" term}
    term         factor {"and" factor}
    factor       "not" factor | "(" expression ")" | test
    test         udp | tcp | icmp | arp | ip | ip6 | in | out | "host" ADDRESS | "port" NUMBER

`icmp` means both of them, `host` and `port` either end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import TypeAlias

from ltk.capture.dissect import ARP, ICMP, ICMPV6, IPV4, IPV6, TCP, UDP, Seen
from ltk.errors import InvalidInputError

Wanted: TypeAlias = Callable[[Seen, bool], bool]
"""Whether a packet is wanted; the second argument is whether it was going out."""

MAX_DEPTH = 50  # of parentheses and negations
_TESTS: dict[str, Wanted] = {
    "udp": lambda seen, _: seen.protocol == UDP,
    "tcp": lambda seen, _: seen.protocol == TCP,
    "icmp": lambda seen, _: seen.protocol in (ICMP, ICMPV6),
    "arp": lambda seen, _: seen.ethertype == ARP,
    "ip": lambda seen, _: seen.ethertype == IPV4,
    "ip6": lambda seen, _: seen.ethertype == IPV6,
    "in": lambda _, outgoing: not outgoing,
    "out": lambda _, outgoing: outgoing,
}
_HINT = f"There are {', '.join(_TESTS)}, host ADDRESS and port NUMBER, joined by and, or, not and ( )."


def parse(text: str) -> Wanted:
    """The test that `text` describes; InvalidInputError where it describes none."""
    parser = _Parser(text)
    wanted = parser.expression(0)
    parser.end()
    return wanted


class _Parser:
    """A descent through the words of an expression."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words: list[str] = re.findall(r"[()]|[^\s()]+", text)
        self._next = 0

    def expression(self, depth: int) -> Wanted:
        terms = [self._term(depth)]
        while self._is_next("or"):
            terms.append(self._term(depth))
        return lambda seen, outgoing: any(term(seen, outgoing) for term in terms)

    def _term(self, depth: int) -> Wanted:
        factors = [self._factor(depth)]
        while self._is_next("and"):
            factors.append(self._factor(depth))
        return lambda seen, outgoing: all(factor(seen, outgoing) for factor in factors)

    def _factor(self, depth: int) -> Wanted:
        if depth > MAX_DEPTH:
            raise self._wrong("it is nested too deeply")
        if self._is_next("not"):
            return _neither(self._factor(depth + 1))
        if self._is_next("("):
            found = self.expression(depth + 1)
            if not self._is_next(")"):
                raise self._wrong("a parenthesis is not closed")
            return found
        match self._take("a test"):
            case "host":
                return self._host(self._take("an address behind host"))
            case "port":
                return self._port(self._take("a number behind port"))
            case word if word in _TESTS:
                return _TESTS[word]
            case word:
                raise self._wrong(f"{word!r} is no test")

    def _host(self, word: str) -> Wanted:
        try:
            wanted = str(ip_address(word))
        except ValueError:
            raise self._wrong(f"{word!r} is no IP address") from None
        return lambda seen, _: wanted in (seen.source, seen.target)

    def _port(self, word: str) -> Wanted:
        if not (re.fullmatch(r"\d{1,5}", word, re.ASCII) and int(word) < 1 << 16):
            raise self._wrong(f"{word!r} is no port")
        wanted = int(word)
        return lambda seen, _: seen.ports is not None and wanted in seen.ports

    def end(self) -> None:
        """Raises InvalidInputError where words are left."""
        if self._next < len(self._words):
            raise self._wrong(f"{self._words[self._next]!r} is not expected there")

    def _take(self, what: str) -> str:
        if self._next == len(self._words):
            raise self._wrong(f"{what} is missing at its end")
        self._next += 1
        return self._words[self._next - 1]

    def _is_next(self, word: str) -> bool:
        if self._next < len(self._words) and self._words[self._next] == word:
            self._next += 1
            return True
        return False

    def _wrong(self, problem: str) -> InvalidInputError:
        return InvalidInputError(f"reading the filter {self._text!r}", problem, hint=_HINT)


def _neither(one: Wanted) -> Wanted:
    return lambda seen, outgoing: not one(seen, outgoing)
