"""Two topologies side by side: the same names inside, the same addresses even, and nothing shared."""

from __future__ import annotations

from collections.abc import Callable

from harness import Lab, machine_state
from test_reconcile import THREE, no_newer_handshake, sessions


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
