"""What each verb says: data on standard output, words to people on standard error."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from commandline import Ltk

from ltk.cli import status
from ltk.errors import LtkError
from ltk.kernel import paths
from ltk.protocol.primitives import decode_key, encode_key, public_key_of

REPORT = {
    "name": "alice",
    "state": "running",
    "device": {"name": "ltk0", "state": "attached"},
    "listen": 40001,
    "listen_tcp": None,
    "transport": "udp",
    "transport_reason": "UDP is answered",
    "streams": 0,
    "endpoint_observed": "203.0.113.2:41231",
    "nat": {"mapping": "endpoint-independent"},
    "drops": {},
    "public_key": "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=",
    "peers": [
        {
            "name": "hub",
            "public_key": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
            "path": "direct",
            "endpoint": "[fd00::1]:51820",
            "rtt_ms": None,
            "handshake_age_s": 3.0,
            "reason": "direct: handshake 3 s ago",
            "tx_bytes": 4096,
            "rx_bytes": 3 * 1024 * 1024,
        }
    ],
}


def test_a_valid_file_is_said_to_be_valid(ltk: Ltk, file: Path) -> None:
    assert ltk("validate", file, "-o", "json").data == {"version": 1, "valid": True, "problems": []}
    said = ltk("validate", file)
    assert (said.status, said.out) == (0, "")
    assert "valid: 2 nodes, 2 sites" in said.err


def test_problems_of_a_file_are_data_too(ltk: Ltk, file: Path) -> None:
    file.write_text(file.read_text().replace("subnet:", "subnte:"))
    said = ltk("validate", file, "-o", "json")
    assert said.status == 3
    assert said.data["valid"] is False
    assert {(each["line"], each["key"]) for each in said.data["problems"]} >= {(3, "network.subnte")}
    assert ltk("validate", file).err.startswith(f"{file}:3:")


def test_a_file_that_is_not_there_is_data_too(ltk: Ltk, tmp_path: Path) -> None:
    said = ltk("validate", tmp_path / "missing.yaml", "-o", "json")
    assert said.status == 3
    assert said.data["problems"][0]["message"] == "there is no such file"


def test_rendering_gives_a_topology_file_again(ltk: Ltk, file: Path) -> None:
    text = ltk("render", file).out
    assert ltk("render", file, "-o", "json").data == {"version": 1, "topology": yaml.safe_load(text)}
    file.write_text(text)
    assert ltk("render", file).out == text


def test_the_schema_is_a_json_document(ltk: Ltk) -> None:
    for arguments in ([], ["-o", "json"]):
        assert ltk("schema", *arguments).data["$schema"].startswith("https://json-schema.org/")


def test_a_key_pair_belongs_together(ltk: Ltk) -> None:
    keys = ltk("keygen", "-o", "json").data
    assert keys.pop("version") == 1
    assert encode_key(public_key_of(decode_key(keys["private_key"]))) == keys["public_key"]
    assert ltk("keygen", "-o", "json").data["private_key"] != keys["private_key"]


def test_a_private_key_goes_to_a_file_of_its_owner_and_nowhere_else(ltk: Ltk, tmp_path: Path) -> None:
    path = tmp_path / "alice.key"
    said = ltk("keygen", path, "-o", "json")
    assert set(said.data) == {"version", "public_key"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    private = path.read_text().strip()
    assert encode_key(public_key_of(decode_key(private))) == said.data["public_key"]
    assert private not in said.out + said.err


def test_a_key_that_is_there_is_not_overwritten(ltk: Ltk, tmp_path: Path) -> None:
    path = tmp_path / "alice.key"
    path.write_text("precious")
    said = ltk("keygen", path)
    assert said.status == 4
    assert str(path) in said.err
    assert path.read_text() == "precious"


def test_a_key_that_could_not_be_written_whole_is_not_there(
    ltk: Ltk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", full)
    said = ltk("keygen", tmp_path / "alice.key")
    assert said.status == 1
    assert "alice.key: No space left on device" in said.err
    assert "make room" in said.err
    assert not (tmp_path / "alice.key").exists()


@pytest.mark.parametrize(
    ("node", "hint"), [("nobody", "--node hub. There"), (None, "--node hub, or add a lab")]
)
def test_who_is_no_node_is_told_so_before_what_the_file_lacks(
    node: str | None, hint: str, ltk: Ltk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ltk.cli.here._host_name", lambda: "nobody")
    path = tmp_path / "real.yaml"
    path.write_text("{name: real, network: {subnet: 10.0.0.0/24}, nodes: {hub: {role: server}, alice: {}}}")
    said = ltk("apply", path, *(["--node", node] if node else []))
    assert said.status == 3
    assert "applying real as nobody: there is no such node" in said.err
    assert hint in said.err
    assert "its key" not in said.err
    assert "its key" in ltk("apply", path, "--node", "hub").err
    assert "its key" in ltk("validate", path).err


def test_a_plan_is_for_people_and_for_programs(ltk: Ltk, file: Path) -> None:
    said = ltk("plan", file)
    assert said.status == 2
    lines = said.out.splitlines()
    assert lines[0] == "+ namespace ltk-small-alice  (wanted and missing)"
    assert all(line.startswith("+ ") for line in lines)
    data = ltk("plan", file, "-o", "json").data
    assert (data["version"], data["topology"]) == (1, "small")
    assert len(data["changes"]) == len(lines)
    assert data["changes"][0] == {
        "action": "create",
        "resource": "namespace",
        "scope": "ltk-small-alice",
        "name": "ltk-small-alice",
        "reason": "wanted and missing",
    }


def test_planning_leaves_nothing_behind(ltk: Ltk, file: Path) -> None:
    ltk("plan", file)
    assert not paths.RUN.exists()
    assert not paths.STATE.exists()


def test_destroying_what_is_not_up(ltk: Ltk, file: Path) -> None:
    assert ltk("destroy", file, "-o", "json").data == {"version": 1, "topology": "small", "changes": []}
    said = ltk("destroy", "small")
    assert said.status == 3
    assert "not up" in said.err


def test_where_nothing_was_left_behind_there_is_nothing_to_collect(ltk: Ltk) -> None:
    assert ltk("gc", "-o", "json").data == {"version": 1, "topologies": []}
    assert "nothing was left behind" in ltk("gc").err


def test_the_doctor_says_what_is_missing_and_how_to_get_it(ltk: Ltk, monkeypatch: pytest.MonkeyPatch) -> None:
    from ltk.kernel import probe

    found = [
        probe.Finding("nft", False, "not installed", "apt-get install nftables"),
        probe.Finding("iperf3", False, "not installed", "apt-get install iperf3", needed=False),
    ]
    monkeypatch.setattr(probe, "findings", lambda *_: found)
    said = ltk("doctor")
    assert said.status == 6
    assert "MISSING nft" in said.out
    assert "apt-get install nftables" in said.out
    assert ltk("doctor", "-o", "json").data["findings"][0]["present"] is False
    del found[0]
    assert ltk("doctor").status == 0


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The small topology is up; the value is its drift, to be filled."""
    drift: list[str] = []

    def answer(path: Path, request: dict[str, object]) -> dict[str, Any] | LtkError:
        assert request.keys() == {"do", "waiting"}
        if path == paths.control_socket("small", "hub"):
            return LtkError("asking hub", "nobody listens")
        peers = [peer for peer in REPORT["peers"] if request["waiting"] or peer["path"] != "none"]
        return REPORT | {"peers": peers}

    def ask_each(questions: list[Any], deadline: float) -> list[dict[str, Any] | LtkError]:
        return [answer(*question) for question in questions]

    class Drifted:
        reason = "wanted and missing"

        def __init__(self, text: str) -> None:
            self.text = text

        def __str__(self) -> str:
            return self.text

    monkeypatch.setattr("ltk.reconcile.apply.exists", lambda _: True)
    monkeypatch.setattr("ltk.reconcile.apply.preview", lambda _: [Drifted(text) for text in drift])
    monkeypatch.setattr("ltk.node.control.ask_each", ask_each)
    return drift


def test_the_status_has_the_documented_form(ltk: Ltk, file: Path, up: list[str]) -> None:
    data = ltk("status", file, "-o", "json").data
    assert {key: data[key] for key in ("version", "topology", "state", "drift")} == {
        "version": 1,
        "topology": "small",
        "state": "up",
        "drift": [],
    }
    hub, alice = data["nodes"]
    assert (hub["name"], hub["role"], hub["state"], hub["peers"]) == ("hub", "server", "stopped", [])
    assert (alice["state"], alice["address"], alice["transport"]) == ("running", "10.0.0.2", "udp")
    (peer,) = alice["peers"]
    assert peer.items() >= {"name": "hub", "path": "direct", "address": "10.0.0.1"}.items()


def test_the_table_shows_what_the_report_says(ltk: Ltk, file: Path, up: list[str]) -> None:
    up.append("- route fd01::/64 dev [ltk0]")
    out = ltk("status", file).out
    assert "small: degraded" in out
    hub, alice = (
        next(line for line in out.splitlines() if f" {name} " in line) for name in ("server", "client")
    )
    assert "stopped" in hub
    for word in ("alice", "10.0.0.2", "running", "hub", "direct", "[fd00::1]:51820", "4.0 KiB", "3.0 MiB"):
        assert word in alice
    assert "handshake 3 s ago" in alice
    assert "differs: - route fd01::/64 dev [ltk0] (wanted and missing)" in out


def test_a_large_table_leaves_out_whom_nothing_was_said_to_and_says_so(
    ltk: Ltk, file: Path, up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = [REPORT["peers"][0] | {"name": f"silent-{number}", "path": "none"} for number in range(3)]
    monkeypatch.setitem(REPORT, "peers", [*REPORT["peers"], *silent])
    out = ltk("status", file).out
    assert "silent-2" in out
    assert "left out" not in out
    monkeypatch.setattr(status, "MOST_ROWS", 3)
    out = ltk("status", file).out
    assert " hub " in out
    assert "silent-" not in out
    assert "peers that nothing was said to are left out" in out
    assert len(ltk("status", file, "-o", "json").data["nodes"][1]["peers"]) == 4


def test_the_table_of_one_host_of_a_large_network_has_all_its_peers(
    ltk: Ltk, file: Path, up: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = status.load
    monkeypatch.setattr(status, "load", lambda word: replace(load(word), here="alice"))
    monkeypatch.setattr(status, "MOST_ROWS", 3)
    monkeypatch.setitem(REPORT, "peers", [REPORT["peers"][0] | {"name": "silent", "path": "none"}])
    out = ltk("status", file).out
    assert "silent" in out
    assert "left out" not in out


def test_drift_has_a_status_of_its_own_for_those_who_ask(ltk: Ltk, file: Path, up: list[str]) -> None:
    assert ltk("status", file, "--exit-code").status == 0
    up.append("- route 10.9.0.0/16")
    assert ltk("status", file, "--exit-code").status == 2
    assert ltk("status", file).status == 0
    assert ltk("status", file, "-o", "json").data["state"] == "degraded"


def test_pings_are_told_pair_by_pair(ltk: Ltk, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sweep(questions: list[Any], timeout: float) -> dict[Any, float | None]:
        return {each: None if "alice" in each.scope else 0.0125 for each in questions}

    monkeypatch.setattr("ltk.kernel.icmp.sweep", sweep)
    monkeypatch.setattr("ltk.kernel.netns.is_namespace", lambda _: True)
    said = ltk("ping", file, "-o", "json")
    assert said.status == 1
    assert said.data["pings"] == [
        {"from": "hub", "to": "alice", "rtt_ms": 12.5},
        {"from": "alice", "to": "hub", "rtt_ms": None},
    ]
    assert ltk("ping", file, "hub", "alice").out == "hub -> alice: 12.50 ms\n"
    assert "lost" in ltk("ping", file).out


def test_applying_tells_programs_what_was_done(ltk: Ltk, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ltk.reconcile import apply
    from ltk.reconcile.plan import Create
    from ltk.reconcile.resources import Namespace

    done = [Create(Namespace("ltk-small-hub", "small"), "wanted and missing")]

    def converge(
        topology: Any,
        listener: Any,
        only: tuple[str, ...],
        adopting: bool,
        agreed: Any,
        awaiting: Any,
        start: bool,
        at_end: Callable[[], None],
    ) -> apply.Outcome:
        assert agreed is None
        assert not adopting
        asked.append(only)
        assert awaiting is None
        assert start
        at_end()
        return apply.Outcome(done, apply.Writes(netlink=3, nft=1, sysctl=0))

    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(apply, "converge", converge)
    said = ltk("apply", file, "--only", "hub, alice", "--yes", "-o", "json")
    assert asked == [("hub", "alice")]
    assert said.data["writes"] == {"netlink": 3, "nft": 1, "sysctl": 0}
    assert [each["name"] for each in said.data["changes"]] == ["ltk-small-hub"]
    assert said.err == ""
    said = ltk("apply", file)
    assert said.out == ""
    assert "small is up: 1 created" in said.err
    assert asked[1] == ()


@pytest.mark.parametrize("only", ["zed", "hub,zed", "hub,", "hub alice"])
def test_a_node_that_does_not_exist_cannot_be_applied_alone(only: str, ltk: Ltk, file: Path) -> None:
    said = ltk("apply", file, "--only", only)
    assert said.status == 3
    assert "--only: there is no node" in said.err
    assert "There are: hub, alice" in said.err
