"""From the command line's word to a topology: files, folders, standard input, YAML's own features."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.errors import InvalidInputError
from ltk.topology.expanded import Role, SecretSource, Topology
from ltk.topology.load import load_topology, parse_topology
from ltk.topology.problems import InvalidTopologyError, Problem

TEXT = """\
name: t
network: {subnet: 10.0.0.0/24, psk: {file: keys/psk}}
nodes:
  hub: {role: server}
  alice: {}
lab:
  sites:
    cloud: {hosts: [hub, alice]}
"""


def parse(text: str) -> Topology:
    return parse_topology(text.encode(), file="t.yaml", folder=Path("/etc/vpn"))


def test_a_file_is_loaded_and_its_secrets_are_found_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    assert load_topology("net.yaml").psk == SecretSource("file", str(tmp_path / "keys/psk"))


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert load_topology("-").name == "t"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nope\.yaml: there is no such file"):
        load_topology(str(tmp_path / "nope.yaml"))


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="this is a folder") as caught:
        load_topology(str(tmp_path))
    assert caught.value.hint is not None


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "/dev/null/x"])
def test_a_path_that_cannot_be_opened_is_an_input_error(path: str) -> None:
    with pytest.raises(InvalidInputError):
        load_topology(path)


def test_a_byte_order_mark_and_windows_line_ends_are_accepted() -> None:
    assert parse("\N{ZERO WIDTH NO-BREAK SPACE}" + TEXT.replace("\n", "\r\n")) == parse(TEXT)


def test_anchors_and_merges_work_and_the_own_value_wins() -> None:
    topology = parse(
        TEXT.replace(
            "alice: {}", "alice: &base {keepalive: 5, listen: 7}\n  bob: {<<: *base, listen: 8}"
        ).replace("alice]", "alice, bob]")
    )
    assert (topology.node("bob").keepalive, topology.node("bob").listen) == (5, 8)


def test_of_several_merged_mappings_the_first_wins() -> None:
    topology = parse(
        TEXT.replace(
            "alice: {}", "alice: &a {listen: 7}\n  bob: &b {listen: 8, keepalive: 9}\n  eve: {<<: [*a, *b]}"
        ).replace("alice]", "alice, bob, eve]")
    )
    assert (topology.node("eve").listen, topology.node("eve").keepalive) == (7, 9)


@pytest.mark.parametrize("name", ["on", "No", "12", "1e3", "null", "0x1f", "12-30"])
def test_any_word_can_name_a_node(name: str) -> None:
    topology = parse(TEXT.replace("alice: {}", f"{name}: {{}}").replace("alice]", f"'{name}']"))
    assert topology.node(name).role is Role.CLIENT


YAML_LIKE = st.text(alphabet=st.sampled_from("abn01.:-/ \n\t{}[],&*<!|>'\"%#?~@\\"), max_size=80)
WORDS = (
    *(
        "nodes",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "\n",
        "  ",
        "&a ",
        "*a",
        "<<: ",
        "~",
        "!!x ",
        "10.0.0.0/8",
        "fd00::/64",
    ),
    *("count: 3", "hub", "alice", ", ", "-1", "'", '"\\U99999999"', "lab", "sites: "),
)
PIECES = st.lists(st.sampled_from([*TEXT.splitlines(keepends=True), *WORDS]), max_size=24).map("".join)


def problems_of(data: bytes) -> tuple[Problem, ...]:
    """What the loader says about `data`; whatever else it raises fails the test."""
    try:
        parse_topology(data, file="t.yaml", folder=Path("/"))
    except InvalidTopologyError as error:
        str(error).encode()
        return error.problems
    return ()


@given(st.one_of(st.binary(max_size=120), YAML_LIKE.map(str.encode), PIECES.map(str.encode)))
def test_no_bytes_make_the_loader_raise_anything_but_its_own_error(data: bytes) -> None:
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems_of(data))


@given(st.data())
def test_no_damage_to_a_good_file_makes_the_loader_raise_anything_but_its_own_error(
    data: st.DataObject,
) -> None:
    start = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(start, min(start + 12, len(TEXT))))
    damaged = TEXT[:start] + data.draw(st.one_of(YAML_LIKE, st.text(max_size=6))) + TEXT[end:]
    assert all(problem.message for problem in problems_of(damaged.encode("utf-8", "surrogatepass")))
