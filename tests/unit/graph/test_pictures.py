"""What is drawn of a topology, in each of the languages, and that each is well-formed."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.graph.dot import dot
from ltk.graph.layout import layout
from ltk.graph.mermaid import mermaid
from ltk.graph.picture import Box, Picture, Shape, Tunnel, Way, picture
from ltk.graph.svg import svg
from ltk.topology.expanded import Topology
from ltk.topology.load import load_topology, parse_topology

ROOT = Path(__file__).parents[3]
TOPOLOGIES = sorted((ROOT / "topologies").glob("*.yaml"))
SVG = "{http://www.w3.org/2000/svg}"
NESTED = """
name: nested
network: {subnet: 10.0.0.0/24, p2p: eager}
nodes:
  hub: {role: server}
  alice: {}
  bob: {}
  carol: {p2p: off}
lab:
  sites:
    flat: {nat: home, behind: carrier, hosts: [alice, bob]}
    cloud: {hosts: [hub]}
    carrier: {nat: cgnat, lan: 100.64.0.0/24, link: {delay: 20ms, jitter: 2ms, loss: 0.5%}}
    own: {nat: {mapping: address-dependent, filtering: endpoint-independent}, hosts: [carol]}
"""


def statuses(*paths: tuple[str, str, str, float | None]) -> dict[str, Any]:
    """What daemons say of tunnels, each of which both of its ends see alike."""
    said: dict[str, Any] = {}
    for a, b, path, rtt in paths:
        for one, other in ((a, b), (b, a)):
            peers = said.setdefault(one, {"peers": []})["peers"]
            peers.append({"name": other, "path": path, "rtt_ms": rtt})
    return said


def nested() -> Topology:
    return parse_topology(NESTED.encode(), file="nested.yaml", folder=Path("/"))


def by_title(drawn: Picture) -> dict[str, Box]:
    return {box.title: box for box in drawn.boxes}


def tunnels(drawn: Picture) -> set[tuple[str, str, Way]]:
    title = {box.id: box.title for box in drawn.boxes}
    return {(title[each.a], title[each.b], each.way) for each in drawn.tunnels}


def test_sites_hang_where_they_stand_and_say_what_they_do() -> None:
    boxes = by_title(picture(nested(), None))
    parents = {box.title: box.parent for box in boxes.values()}
    assert parents["flat"] == boxes["carrier"].id
    assert parents["carrier"] == parents["cloud"] == boxes["internet"].id
    assert parents["alice"] == parents["bob"] == boxes["flat"].id
    assert boxes["flat"].lines[0] == "NAT: home"
    assert boxes["carrier"].lines[-1] == "link: 20 ms ± 2 ms, 0.5 % loss"
    assert boxes["own"].lines[0] == "NAT: address-dependent, filtering: endpoint-independent"
    assert boxes["cloud"].lines[0] == "no NAT"
    assert (boxes["cloud"].shape, boxes["flat"].shape) == (Shape.SITE, Shape.NAT)


def test_where_nothing_is_up_the_tunnels_are_those_that_there_will_be_from_the_start() -> None:
    to_hub = {("hub", name, Way.PLANNED) for name in ("alice", "bob", "carol")}
    assert tunnels(picture(nested(), None)) == to_hub | {("alice", "bob", Way.PLANNED)}


def test_live_tunnels_are_what_the_worse_off_of_their_ends_says() -> None:
    said = statuses(("hub", "alice", "direct", None), ("alice", "bob", "direct", 4.25))
    said["bob"]["peers"][0]["path"] = "relay"
    said["carol"] = {"peers": [{"name": "hub", "path": "none", "rtt_ms": None}]}
    said["carol"]["peers"].append({"name": "alice", "path": "none", "rtt_ms": None})
    drawn = picture(nested(), said)
    assert tunnels(drawn) == {
        ("hub", "alice", Way.DIRECT),
        ("alice", "bob", Way.RELAY),
        ("hub", "carol", Way.NONE),
    }
    assert [each.label for each in drawn.tunnels] == ["direct", "no session", "relay, 4.2 ms"]


def test_a_daemon_that_does_not_answer_is_drawn_as_stopped_and_a_stock_peer_is_not() -> None:
    two_homes = load_topology(str(ROOT / "topologies" / "two-homes.yaml"))
    boxes = by_title(picture(two_homes, statuses(("hub", "alice", "direct", None))))
    assert (boxes["bob"].shape, boxes["bob"].lines[0]) == (Shape.STOPPED, "client, stopped")
    assert (boxes["phone"].shape, boxes["phone"].lines[0]) == (Shape.HOST, "stock WireGuard")
    assert boxes["hub"].shape is Shape.SERVER


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_each_topology_is_drawn_whole_in_every_language(path: Path) -> None:
    topology = load_topology(str(path))
    drawn = picture(topology, None)
    names = [node.name for node in topology.nodes]
    names += [site.name for site in topology.lab.sites] if topology.lab else []
    root = ElementTree.fromstring(svg(drawn))
    assert [name for name in names if name not in texts(root)] == []
    for text in (mermaid(drawn), dot(drawn)):
        assert [name for name in names if f'"{name}' not in text] == []


def texts(root: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in root.iter(f"{SVG}text")]


def boxes_of(*, hosts: int, sites: int) -> st.SearchStrategy[Picture]:
    """Pictures with any text in them, also such as no topology allows."""
    text = st.text(max_size=12)

    def make(words: list[str], behind: list[int], ends: list[tuple[int, int]], ways: list[Way]) -> Picture:
        made = [Box("internet", Shape.INTERNET, words[0], tuple(words[1:3]), None)]
        for number in range(sites):
            parent = f"site{behind[number] % number}" if number and behind[number] % 3 else "internet"
            made.append(Box(f"site{number}", Shape.NAT, words[number], (words[-1],), parent))
        for number in range(hosts):
            made.append(Box(f"host{number}", Shape.HOST, words[number], (), f"site{behind[number] % sites}"))
        pairs = {tuple(sorted(end)) for end in ends if end[0] != end[1]}
        arcs = [
            Tunnel(f"host{a}", f"host{b}", way, 1.5)
            for (a, b), way in zip(sorted(pairs), itertools.cycle(ways), strict=False)
        ]
        return Picture(words[0], tuple(made), tuple(arcs))

    number = st.integers(0, 99)
    return st.builds(
        make,
        st.lists(text, min_size=max(hosts, sites, 3), max_size=max(hosts, sites, 3)),
        st.lists(number, min_size=max(hosts, sites), max_size=max(hosts, sites)),
        st.lists(st.tuples(st.integers(0, hosts - 1), st.integers(0, hosts - 1)), max_size=20),
        st.lists(st.sampled_from(Way), min_size=1, max_size=4),
    )


@given(boxes_of(hosts=6, sites=4))
def test_boxes_stand_apart_below_what_they_hang_on_and_within_the_canvas(drawn: Picture) -> None:
    plan = layout(drawn)
    places = list(plan.places.values())
    for one, other in itertools.combinations(places, 2):
        assert (
            one.bottom < other.y
            or other.bottom < one.y
            or abs(one.x - other.x) >= (one.width + other.width) / 2
        ), f"{one.box.id} stands on {other.box.id}"
    for place in places:
        assert place.x - place.width / 2 >= 0
        assert place.x + place.width / 2 <= plan.width
        assert place.bottom <= plan.height
        assert place.box.parent is None or plan.places[place.box.parent].bottom < place.y
    assert all(arc.y + arc.depth <= plan.height for arc in plan.arcs)


@given(boxes_of(hosts=3, sites=2))
def test_any_text_is_escaped_in_svg(drawn: Picture) -> None:
    root = ElementTree.fromstring(svg(drawn))
    found = texts(root)
    assert len(found) >= sum(1 + len(box.lines) for box in drawn.boxes)
    assert {each.tag.removeprefix(SVG) for each in root.iter()} <= {"svg", "title", "rect", "path", "text"}


@given(boxes_of(hosts=3, sites=2))
def test_any_text_is_escaped_in_mermaid_and_in_dot(drawn: Picture) -> None:
    for line in mermaid(drawn).splitlines()[1:]:
        assert re.fullmatch(
            r'  \w+(\(\["[^"]*"\]\)|\[".*"\]|\{\{"[^"]*"\}\}|\("[^"]*"\))'
            r'|  \w+ (---|<==>|<-\.->|x-\.-x|-\.-)(\|"[^"]*"\|)? \w+',
            line,
        ), line
    quoted = re.sub(r'"(\\.|[^"\\])*"', '""', dot(drawn), flags=re.DOTALL)
    for line in quoted.splitlines()[2:-1]:
        assert re.fullmatch(r'  \w+ \[label="", shape=\w+\];|  \w+ -- \w+( \[[\w=",. ]+\])?;', line), line


def test_the_picture_in_the_documents_is_what_is_drawn() -> None:
    topology = load_topology(str(ROOT / "topologies" / "quickstart.yaml"))
    live = statuses(
        ("hub", "alice", "direct", None), ("hub", "bob", "direct", None), ("alice", "bob", "direct", 4.3)
    )
    assert (ROOT / "docs" / "quickstart.svg").read_text() == svg(picture(topology, live))


def test_hosts_without_a_tunnel_have_none_and_are_never_stopped() -> None:
    text = "name: chat\nnodes: {a: {role: host}, b: {role: host}}\nlab: {sites: {x: {hosts: [a, b]}}}\n"
    topology = parse_topology(text.encode(), file="chat.yaml", folder=Path("/"))
    for said in (None, {}):
        drawn = picture(topology, said)
        assert tunnels(drawn) == set()
        assert {by_title(drawn)[name].shape for name in "ab"} == {Shape.HOST}
    (office,) = (load_topology(str(path)) for path in TOPOLOGIES if path.stem == "office-and-web")
    assert "web" not in {name for a, b, _ in tunnels(picture(office, None)) for name in (a, b)}
