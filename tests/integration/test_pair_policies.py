"""What the file says of one pair of clients, as the network shows it: p2p, relay-only, direct-only."""

from __future__ import annotations

from collections.abc import Callable

from flows import Flows, seen
from harness import Lab, wait_for
from test_direct_paths import BOB, homes
from test_reconcile import no_newer_handshake, sessions

LARGE = ["-s", "1000"]  # an echo request that nothing else on the underlay is as large as
OVER = 900  # bytes
COUNT = 20


def pair(words: str) -> str:
    return homes() + f"pairs:\n  - {{between: [bob, alice], {words}}}\n"


def watched(lab: Lab) -> Flows:
    """Counters of data each way, and of all that passes between the two homes."""
    flows = Flows(lab)
    for name, source, target in (("a_b", "home", "flat"), ("b_a", "flat", "home"), ("a_hub", "home", "hub")):
        flows.count(name, source, target, larger=OVER)
    flows.count("any_a_b", "home", "flat", data_only=False)
    flows.count("any_b_a", "flat", "home", data_only=False)
    return flows


def spent(flows: Flows, lab: Lab) -> dict[str, int]:
    """What COUNT pings from alice to bob put on each way; none of them is lost."""
    before = flows.counted()
    result = lab.ping("alice", BOB, *LARGE, count=COUNT)
    assert result["received"] == COUNT, result["output"]
    return {name: count - before[name] for name, count in flows.counted().items()}


def is_direct(used: dict[str, int]) -> bool:
    return min(used["a_b"], used["b_a"]) >= seen(COUNT) and used["a_hub"] == 0


def daemons(lab: Lab) -> list[int]:
    return [lab.daemon_pid(node) for node in ("hub", "alice", "bob")]


def test_a_pair_changes_its_policy_within_its_sessions(lab: Callable[..., Lab]) -> None:
    """Eager without a word between them, then relayed alone, then as any other pair."""
    made = lab(homes())
    flows = watched(made)
    made.rewrite(pair("p2p: eager"))
    made.apply()
    wait_for(lambda: made.peer("alice", "bob")["path"] == "direct", "a path before there is any data")
    used = flows.counted()
    assert min(used["any_a_b"], used["any_b_a"]) > 0, f"direct, where the network saw nothing: {used}"
    wait_for(lambda: is_direct(spent(flows, made)), "all data to go directly")
    before, pids = sessions(made), daemons(made)

    made.rewrite(pair("path: relay-only"))
    assert {each["resource"] for each in made.plan()} == {"daemon"}
    made.apply()
    used = spent(flows, made)
    assert used["a_b"] == used["b_a"] == used["any_a_b"] == used["any_b_a"] == 0, f"relay only: {used}"
    assert used["a_hub"] >= COUNT, used
    for one, other in (("alice", "bob"), ("bob", "alice")):
        told = made.peer(one, other)
        assert (told["path"], told["reason"]) == ("relay", "relay: the topology says so")

    made.rewrite(homes())
    made.apply()
    wait_for(lambda: is_direct(spent(flows, made)), "a direct path, now that it is allowed")
    no_newer_handshake(before, sessions(made))
    assert daemons(made) == pids
    assert made.plan() == []


def test_direct_only_never_uses_the_relay_for_data(lab: Callable[..., Lab]) -> None:
    made = lab(pair("path: direct-only"))
    flows = watched(made)
    with flows.cut_off(("home", "flat")):
        nothing = made.ping("alice", BOB, "-W", "1", *LARGE, count=COUNT)
        assert nothing["received"] == 0, f"without a direct path this passed: {nothing['output']}"
        wait_for(lambda: made.peer("alice", "bob")["direct_failures"] >= 1, "the attempt to have failed")
        told = made.peer("alice", "bob")
        assert told["path"] == "none", told
        assert told["reason"].startswith("none: the topology allows no relay; "), told
        alice = next(node for node in made.status()["nodes"] if node["name"] == "alice")
        assert alice["drops"]["no-direct-path"] >= 1, "what waited in vain is counted"
        assert flows.counted()["a_hub"] == 0
    wait_for(lambda: made.ping("alice", BOB, "-W", "1", *LARGE, count=1)["received"], "the direct path", 60)
    wait_for(lambda: is_direct(spent(flows, made)), "all data to go directly")
    pids = daemons(made)

    with flows.cut_off(("home", "flat")):
        assert made.ping("alice", BOB, "-W", "1", *LARGE, count=COUNT)["received"] == 0
        wait_for(lambda: made.peer("alice", "bob")["path"] == "none", "the loss of the path to be noticed")
        assert flows.counted()["a_hub"] == 0, "data by the relay, which this pair may not use"
        made.rewrite(homes())
        made.apply()
        used = spent(flows, made)
        assert used["a_hub"] >= COUNT, f"the relay, now that it is allowed: {used}"
    assert daemons(made) == pids
