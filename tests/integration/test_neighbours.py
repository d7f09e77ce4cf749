"""Whatever stands beside a lab stays as it is: another topology, and things of others that look like ours."""

from __future__ import annotations

from collections.abc import Callable

from harness import Lab, machine_state, run_ltk, wait_for
from neighbourhood import beside, files_of, namespaces_of_others, put_beside
from test_reconcile import THREE, no_newer_handshake, sessions
from watching import watching

OTHER = """
name: three-2
nodes: {one: {role: host}}
lab: {sites: {home: {nat: port-restricted, hosts: [one]}}}
"""


def test_two_topologies_are_up_at_once_and_do_not_touch_each_other(lab: Callable[..., Lab]) -> None:
    """The same file under two names, one of which even begins like the other."""
    own = {
        key: value
        for key, value in machine_state().items()
        if key not in ("namespaces", "files", "supervisors")
    }
    first = lab(THREE)
    second = lab(THREE.replace("name: three", "name: three-2"))
    for each in (first, second):
        assert each.ping("alice", "10.61.0.3")["received"] == 3
        assert each.plan() == []
    before = sessions(first)
    second.rewrite(second.yaml.replace("10.61.0.2}", "10.61.0.22}"))
    second.apply()
    assert second.ping("bob", "10.61.0.22")["received"] == 3
    second.destroy()
    assert first.plan() == []
    no_newer_handshake(before, sessions(first))
    assert first.ping("alice", "10.61.0.3")["received"] == 3
    now = machine_state()
    assert {key: now[key] for key in own} == own, "the machine's own namespace is as it was"


def test_what_is_others_is_the_same_byte_by_byte_whatever_ltk_does(lab: Callable[..., Lab]) -> None:
    """Through an apply, another that has something to change, a repair, a destroy and a gc."""
    made, other = lab(THREE), lab(OTHER)
    places = ("alice", "home", "internet")
    with namespaces_of_others(made) as elsewhere:
        for place in places:
            put_beside(made, place)
        before = beside(made, places) | elsewhere() | files_of(other.name)

        def touched() -> dict[tuple[str, str], tuple[str, str]]:
            """What is not as it was: before and now."""
            now = beside(made, places) | elsewhere() | files_of(other.name)
            return {key: (before[key], now.get(key, "")) for key in before if before[key] != now.get(key)}

        assert made.apply()["changes"] == []
        assert touched() == {}
        made.rewrite(THREE.replace("10.61.0.2}", "10.61.0.22}").replace("192.168.77", "192.168.78"))
        assert made.apply()["changes"]
        assert touched() == {}
        with watching(made.name, "--fix") as watcher:
            made.run("home", "nft", "flush", "table", "inet", "ltk")
            made.run("alice", "ip", "link", "del", "ltk0")
            watcher.wait_for("fixed")
            wait_for(lambda: made.plan() == [], "nothing to be left to do")
        assert touched() == {}
        made.destroy()
        run_ltk("gc")
        kept = {key: shown for key, shown in before.items() if key[0] not in places}
        assert elsewhere() | files_of(other.name) == kept
        assert other.plan() == []
