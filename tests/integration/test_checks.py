"""`ltk test`, and what stands behind it: checks are judged by the network, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from flows import PING, Flows, seen
from harness import Lab, run_ltk, wait_for

from ltk.kernel import netns
from ltk.topology.expanded import Topology
from ltk.topology.load import load_topology
from ltk.verify import run as verify_run

BOB = "10.83.0.3"
LOSSY = "{delay: 1ms, loss: 4%, seed: 7}"


def file_with(checks: str, *, name: str = "checked", firm: str = "symmetric", more: str = "") -> str:
    """Alice at home, bob in his flat, carol in a firm with a harder NAT and a lossy link; a web server."""
    return f"""
name: {name}
network: {{subnet: 10.83.0.0/24}}
nodes:
  hub: {{role: server, address: 10.83.0.1}}
  alice: {{address: 10.83.0.2}}
  bob: {{address: {BOB}}}
  carol: {{p2p: {{hard-nat: off}}}}
  web: {{role: host, run: python3 -m http.server 8080}}
lab:
  sites:
    cloud: {{hosts: {{hub: {{}}, web: {{address: 203.0.113.80}}}}}}
    home: {{nat: port-restricted, hosts: [alice]}}
    flat: {{nat: port-restricted, hosts: [bob]}}
    firm: {{nat: {firm}, hosts: [carol], link: {LOSSY}}}
{more}checks:
{checks}
"""


HOLD = """\
- {reach: [alice, hub]}
- {reach: [alice, bob], via: direct, within: 20s, loss: 0%, throughput: 5mbit}
- {reach: [bob, carol], via: relay, within: 20s}
- {reach: [alice, web]}
- {unreachable: [web, alice], within: 0.5s}
- {reach: [alice, bob], via: relay, within: 30s, after: block home flat, name: around a cut}
- {reach: [alice, bob], via: direct, within: 60s, name: and back}
- {run: "until python3 get.py; do sleep 0.1; done", on: bob, name: the web}
"""
GET = "from urllib.request import urlopen; urlopen('http://203.0.113.80:8080/', timeout=5)\n"
DO_NOT_HOLD = """\
- {reach: [alice, carol], via: direct, within: 2s, name: not direct}
- {reach: [alice, carol], within: 20s, loss: 0.5%, name: lossy}
- {unreachable: [alice, bob], name: reached}
- {reach: [alice, bob], throughput: 90gbit, name: slow}
- {run: echo what went wrong; exit 7, on: carol, name: status}
- {run: sleep 60, on: carol, within: 0.2s, name: too long}
- {reach: [alice, hub], name: holds}
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], str]:
    """A file with such a topology; whatever of it may be up is destroyed afterwards by the test itself."""

    def write(text: str) -> str:
        path = tmp_path / "checked.yaml"
        path.write_text(text)
        (tmp_path / "get.py").write_text(GET)
        return str(path)

    return write


def ltk_test(*arguments: str, status: int) -> tuple[dict[str, dict[str, object]], dict[str, object]]:
    """The checks by name, and the whole document."""
    document = json.loads(run_ltk("test", *arguments, "-o", "json", status=status).stdout)
    return {each["name"]: each for each in document["checks"]}, document


def test_checks_that_hold_pass_and_nothing_is_left(written: Callable[[str], str], tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    checks, document = ltk_test(written(file_with(HOLD)), "--junit", str(report), status=0)
    assert (document["passed"], document["failed"], document["evidence"]) == (8, 0, None)
    direct = checks["alice reaches bob directly, loses at most 0%, carries 5mbit"]
    assert direct["measured"]["way"] == "direct", direct
    assert direct["measured"]["mbit_per_s"] > 5, direct
    assert checks["around a cut"]["measured"]["way"] == "relay", checks
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("8", "0")


def test_checks_that_do_not_hold_fail_with_what_was_seen_and_logs_are_kept(
    written: Callable[[str], str], tmp_path: Path
) -> None:
    checks, document = ltk_test(written(file_with(DO_NOT_HOLD)), status=2)
    assert (document["passed"], document["failed"]) == (1, 6)
    for name, words in (
        ("not direct", "the data went by the relay"),
        ("lossy", "more than 0.5% is lost"),
        ("reached", "what alice sends arrives at bob"),
        ("slow", "not 90gbit"),
        ("status", "status 7 and said:\nwhat went wrong"),
        ("too long", "did not end within 200ms"),
    ):
        assert words in str(checks[name]["problem"]), checks[name]
    kept = Path(str(document["evidence"]))
    assert {"alice.log", "hub.log", "supervisor.log", "web.run.log", "topology.yaml"} <= {
        each.name for each in kept.iterdir()
    }
    status = json.loads((kept / "status.json").read_text())
    assert {node["name"] for node in status["nodes"]} == {"hub", "alice", "bob", "carol", "web"}


def test_the_way_is_what_counters_of_the_internet_say(lab: Callable[..., Lab]) -> None:
    """The judge, judged: by counters that stand elsewhere and were written by somebody else."""
    made = lab(file_with("- {reach: [alice, bob]}"))
    flows = Flows(made)
    flows.watch(["alice", "bob", "carol"], [("alice", "bob"), ("alice", "carol")])
    wait_for(lambda: made.ping("alice", BOB, *PING)["received"] == 3, "the first pings")
    for other, way in (("bob", "direct"), ("carol", "relay")):
        text = f"- {{reach: [alice, {other}], via: {way}, within: 30s}}"
        made.path.write_text(file_with(text))
        before = flows.counted()
        _, document = ltk_test("--no-apply", str(made.path), status=0)
        used = {name: many - before[name] for name, many in flows.counted().items()}
        straight, around = used[f"alice_{other}"], used[f"hub_{other}"]
        assert (straight if way == "direct" else around) >= seen(10), (document, used)
        if way == "relay":
            assert straight == 0, used
    assert made.status()["state"] == "up", "--no-apply leaves it up"


def test_a_status_that_lies_fails_a_check(lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    made = lab(file_with("- {reach: [alice, carol], via: direct, within: 1s}"))
    topology = load_topology(str(made.path))
    carol = str(topology.node("carol").addresses[0].ip)
    wait_for(lambda: made.ping("alice", carol)["received"] == 3, "a session of alice's with carol")
    lie = ("direct", "direct")
    monkeypatch.setattr(verify_run, "told_paths", lambda *_: lie)
    wanted = problem_of(topology)
    assert "the data went by the relay" in wanted, f"a lie was believed: {wanted or 'it passed'}"
    made.path.write_text(file_with("- {reach: [alice, carol], via: relay, within: 1s}"))
    told = problem_of(load_topology(str(made.path)))
    assert "but the status of alice says direct" in told, f"a lie was not noticed: {told or 'it passed'}"


def problem_of(topology: Topology) -> str:
    (result,) = verify_run.run_checks(topology, topology.checks)
    return result.problem or ""


def test_a_topology_that_is_up_is_not_tested_and_one_that_is_not_is_not_looked_at(
    lab: Callable[..., Lab],
) -> None:
    made = lab(file_with("- {reach: [alice, hub]}"), apply=False)
    refused = run_ltk("test", "--no-apply", str(made.path), status=3)
    assert "it is not up" in refused.stderr
    made.apply()
    before = made.daemon_pid("alice")
    refused = run_ltk("test", str(made.path), status=3)
    assert "it is up already" in refused.stderr
    assert f"ltk test --no-apply {made.name}" in refused.stderr
    assert made.daemon_pid("alice") == before
    none = run_ltk("test", str(made.path.parent.parent / "x.yaml"), status=3)
    assert "no such file" in none.stderr


def test_of_two_tests_of_one_topology_at_once_one_is_refused_and_leaves_the_other_alone(
    written: Callable[[str], str], tmp_path: Path
) -> None:
    path = written(file_with("- {run: until test -e go-on; do sleep 0.1; done, on: web}"))
    words = [sys.executable, "-m", "ltk", "test", path]
    both = [
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in "ab"
    ]
    wait_for(lambda: any(process.poll() is not None for process in both), "one of them to be refused")
    (tmp_path / "go-on").touch()
    said = [process.communicate(timeout=60)[1] for process in both]
    statuses = sorted(process.returncode for process in both)
    assert statuses in ([0, 3], [0, 7]), said  # the other was up already, or at work on it


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_test_takes_down_what_it_brought_up(
    number: signal.Signals, written: Callable[[str], str]
) -> None:
    path = written(file_with("- {run: sleep 100, on: web, within: 120s}"))
    words = [sys.executable, "-m", "ltk", "test", path]
    heard = {
        "preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)
    }  # a shell's background job ignores SIGINT
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **heard
    ) as process:
        wait_for(lambda: "sleep 100" in running(), "the command of the check")
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "sleep 100" not in running()
    assert netns.names() == []


def running() -> str:
    """The command lines of all processes."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return "\n".join(found)


def test_a_program_is_kept_running_and_goes_whole(lab: Callable[..., Lab]) -> None:
    server = "python3 -m http.server 8080 & echo began; wait"
    text = f"""
name: programs
nodes:
  web: {{role: host, run: {server}}}
  app: {{role: host}}
lab:
  sites:
    cloud: {{hosts: [web]}}
    home: {{nat: symmetric, hosts: [app]}}
"""
    made = lab(text)
    assert made.plan() == []
    address = "203.0.113.3"

    def answers() -> bool:
        url = f"http://{address}:8080/"
        words = f"from urllib.request import urlopen; urlopen({url!r}, timeout=5)"
        return made.run("app", "python3", "-c", words, check=False).returncode == 0

    def program() -> dict[str, object]:
        (node,) = (each for each in made.status()["nodes"] if each["name"] == "web")
        return node["program"]

    def kill_and_see_it_again(pid: int, restarts: int) -> None:
        """Kill one process of it: what that has started must go too, or the port stays taken."""
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: (program()["restarts"], program()["state"]) == (restarts, "running"), "a restart")
        wait_for(answers, "the web server, started again on the same port")

    wait_for(answers, "the web server")
    told = program()
    assert (told["state"], told["restarts"]) == ("running", 0), told
    inside = made.run("web", "sh", "-c", "ss -Hltnp 'sport = 8080'").stdout
    pid = int(inside.partition("pid=")[2].partition(",")[0])
    shell = int(Path(f"/proc/{pid}/stat").read_text().split()[3])
    kill_and_see_it_again(shell, 1)
    kill_and_see_it_again(int(str(program()["pid"])), 2)  # who minds the shell
    made.rewrite(text.replace("8080 &", "8081 &"))
    assert [each["resource"] for each in made.plan()] == ["program"]
    made.apply()
    wait_for(lambda: not answers(), "the old server to be gone")
    made.rewrite(text.replace(f", run: {server}", ""))
    made.apply()
    assert not Path(f"/run/ltk/{made.name}/web.run.log").exists()
    assert "http.server" not in running()
