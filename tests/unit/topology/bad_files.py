"""Topology files for tests, valid but for what the caller changes; and how a problem's place is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltk.topology.load import parse_topology
from ltk.topology.problems import InvalidTopologyError

KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
OTHER_KEY = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="


def problems_of(text: str) -> InvalidTopologyError:
    with pytest.raises(InvalidTopologyError) as caught:
        parse_topology(text.encode(), file="t.yaml", folder=Path("/somewhere"))
    return caught.value


def place_of(marked: str) -> tuple[str, int, int]:
    """The text without its mark, and the mark's line and column."""
    assert marked.count("§") == 1
    before = marked.partition("§")[0]
    return marked.replace("§", ""), before.count("\n") + 1, len(before) - before.rfind("\n")


def lab(
    *,
    name: str = "name: t",
    network: str = "{subnet: 10.0.0.0/24}",
    defaults: str = "{}",
    hub: str = "{role: server}",
    alice: str = "{role: client}",
    more: str = "",
    internet: str = "203.0.113.0/24",
    cloud: str = "{hosts: [hub]}",
    home: str = "{nat: symmetric, hosts: [alice]}",
    sites: str = "",
) -> str:
    return (
        f"{name}\nnetwork: {network}\ndefaults: {defaults}\nnodes:\n  hub: {hub}\n  alice: {alice}\n{more}"
        f"lab:\n  internet: {internet}\n  sites:\n    cloud: {cloud}\n    home: {home}\n{sites}"
    )


def real(
    *,
    network: str = "{subnet: 10.0.0.0/24}",
    hub: str = "{role: server, endpoint: 'hub.example:51820', public_key: " + KEY + "}",
    alice: str = "{public_key: " + OTHER_KEY + "}",
    more: str = "",
) -> str:
    return f"name: t\nnetwork: {network}\nnodes:\n  hub: {hub}\n  alice: {alice}\n{more}"


def check_the_only_problem(marked: str, key: str, fragment: str) -> None:
    """The file has one problem, at the mark, with this key and with `fragment` in its message."""
    text, line, column = place_of(marked)
    error = problems_of(text)
    shown = [(problem.line, problem.column, problem.key) for problem in error.problems]
    assert shown == [(line, column, key)], str(error)
    assert fragment in error.problems[0].message
    assert str(error).startswith(f"t.yaml:{line}:{column}: ")
