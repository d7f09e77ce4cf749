"""`ltk capture` refuses what it cannot do before it does anything; `ltk graph` draws into a file or not."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from commandline import Ltk


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["alice", "--filter", "udp nad tcp"],
            ["udp nad tcp", "'nad' is not expected there", "host ADDRESS"],
        ),
        (["alice", "--live", "-w", "-"], ["--live", "standard output"]),
        (["zed"], ["there is no such node or site", "hub, alice, cloud, home, internet"]),
        (["alice"], ["small is not up", "ltk apply"]),
        ([], ["NODE[:DEVICE]"]),
        (["alice", "--count", "0"], ["--count"]),
        (["alice", "--seconds", "0"], ["--seconds"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_capture_that_cannot_be_is_refused_and_writes_nothing(
    arguments: list[str], words: list[str], ltk: Ltk, file: Path, tmp_path: Path
) -> None:
    written = tmp_path / "written.pcapng"
    said = ltk("capture", file, "-w", written, *arguments)
    assert said.status == 3
    assert said.out == ""
    assert all(word in said.err for word in words), said.err
    assert not written.exists()


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.svg", "<svg "), ("a.dot", 'graph "small" {'), ("a.gv", "graph"), ("a.md", "flowchart")],
)
def test_the_name_of_the_file_tells_what_to_draw_in(
    name: str, begins: str, ltk: Ltk, file: Path, tmp_path: Path
) -> None:
    said = ltk("graph", file, "-o", tmp_path / name)
    assert (said.status, said.out) == (0, "")
    assert str(tmp_path / name) in said.err
    assert (tmp_path / name).read_text().startswith(begins)


def test_a_graph_goes_to_standard_output_in_the_format_that_is_asked_for(ltk: Ltk, file: Path) -> None:
    assert ltk("graph", file).out.startswith("flowchart TB\n")
    assert ElementTree.fromstring(ltk("graph", file, "-f", "svg").out).tag.endswith("svg")


def test_a_graph_that_cannot_be_written_says_so(ltk: Ltk, file: Path, tmp_path: Path) -> None:
    said = ltk("graph", file, "-o", tmp_path / "nowhere" / "a.svg")
    assert said.status == 1
    assert "a.svg: No such file or directory" in said.err
    assert f"mkdir -p {tmp_path / 'nowhere'}" in said.err


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("ping", ["no node of it has a tunnel", "ltk exec hosts NODE"]),
        ("metrics", ["no node of it has a daemon"]),
    ],
)
def test_where_nobody_has_a_tunnel_that_is_said(
    verb: str, words: list[str], ltk: Ltk, tmp_path: Path
) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text("{name: hosts, nodes: {web: {role: host}}, lab: {sites: {cloud: {hosts: [web]}}}}")
    said = ltk(verb, path)
    assert said.status == 3
    assert said.out == ""
    assert all(word in said.err for word in words), said.err
