"""A node's metrics over HTTP, as its file configures them: true, parseable, bounded, and out of the way."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from flows import PING
from harness import REPOSITORY, Lab, run_ltk, wait_for
from prometheus_client.parser import text_string_to_metric_families
from test_direct_paths import BOB, homes
from test_reconcile import no_newer_handshake, sessions

from ltk.kernel import netns

AT = "127.0.0.1:9586"
ADDRESS, PORT = "127.0.0.1", 9586
SLOW_CLIENTS = 40  # more than are served at a time
SERVED = homes() + f"defaults: {{node: {{metrics: '{AT}'}}}}\n"

# Every metric that scripts may rely on, with its labels.
PROMISED = {
    "ltk_p2p_attempts_total": {"node", "peer", "result"},
    "ltk_p2p_retries_total": {"node", "peer"},
    "ltk_announce_attempts_total": {"node", "result"},
    "ltk_path_packets_total": {"node", "peer", "path", "direction"},
    "ltk_path_bytes_total": {"node", "peer", "path", "direction"},
    "ltk_path_switches_total": {"node", "peer"},
    "ltk_handshakes_total": {"node", "result"},
    "ltk_drops_total": {"node", "reason"},
    "ltk_session_age_seconds": {"node", "peer"},
    "ltk_rtt_seconds": {"node", "peer"},
}

Samples = dict[str, list[tuple[dict[str, str], float]]]


@contextmanager
def connected(lab: Lab, node: str) -> Iterator[http.client.HTTPConnection]:
    """A connection to the node's server, from inside of the node."""
    connection = http.client.HTTPConnection(ADDRESS, PORT, timeout=20)
    with netns.inside(lab.scope(node)), closing(connection):
        connection.connect()
        yield connection


def scraped(lab: Lab, node: str, method: str = "GET", path: str = "/metrics") -> tuple[int, str]:
    with connected(lab, node) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def parsed(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def one(samples: Samples, name: str, **labels: str) -> float:
    (value,) = [value for own, value in samples[name] if own == labels]
    return value


def test_each_node_serves_what_it_counts(lab: Callable[..., Lab]) -> None:
    made = lab(SERVED)
    assert made.ping("alice", BOB, *PING, count=40)["received"] == 40
    wait_for(lambda: made.peer("alice", "bob")["path"] == "direct", "a direct path")
    pages = {node: scraped(made, node) for node in ("hub", "alice", "bob")}
    assert {status for status, _ in pages.values()} == {200}
    for node, (_, text) in pages.items():
        samples = parsed(text)
        assert {labels["node"] for each in samples.values() for labels, _ in each} == {node}
        for name, labels in PROMISED.items():
            for own, _ in samples.get(name, []):
                assert set(own) == labels, name
        check_secrets(made, text)
    alice = parsed(pages["alice"][1])
    assert set(PROMISED) - set(alice) <= {"ltk_drops_total"}, "a metric is missing"
    assert one(alice, "ltk_p2p_attempts_total", node="alice", peer="bob", result="success") >= 1
    assert 0 < one(alice, "ltk_rtt_seconds", node="alice", peer="bob") < 30
    assert 0 <= one(alice, "ltk_session_age_seconds", node="alice", peer="hub") < 180

    direct = {"node": "alice", "peer": "bob", "path": "direct", "direction": "tx"}
    assert made.ping("alice", BOB, *PING, count=40)["received"] == 40
    now = parsed(scraped(made, "alice")[1])
    assert one(now, "ltk_path_packets_total", **direct) - one(alice, "ltk_path_packets_total", **direct) >= 40
    for method, path, status in (("GET", "/", 404), ("POST", "/metrics", 405), ("PUT", "/", 404)):
        assert scraped(made, "alice", method, path)[0] == status


def check_secrets(lab: Lab, text: str) -> None:
    keys = [path.read_text().strip() for path in Path("/var/lib/ltk", lab.name).glob("*.key")]
    assert len(keys) == 3
    assert [key for key in keys if key in text] == []


def test_slow_clients_disturb_neither_the_tunnel_nor_other_scrapes(lab: Callable[..., Lab]) -> None:
    made = lab(SERVED)
    made.ping("alice", BOB, *PING, count=10)
    with ExitStack() as stack:
        clients = []
        for _ in range(SLOW_CLIENTS):
            client = stack.enter_context(connected(made, "alice")).sock
            client.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
            clients.append(client)
        result = made.ping("alice", BOB, *PING, count=100)
        for client in clients:
            trickle(client)
        assert result["received"] == 100, result["output"]
        assert max(result["times"]) < 1000, f"milliseconds that pings waited for slow clients: {result}"
        assert scraped(made, "alice")[0] == 200
    wait_for(lambda: made.ping("alice", BOB, *PING)["received"] == 3, "the tunnel, after they have gone")


def trickle(client: socket.socket) -> None:
    try:
        client.sendall(b"x")
    except OSError:  # it had to make room
        return


def test_metrics_move_and_end_within_the_sessions_and_a_taken_port_is_named(
    lab: Callable[..., Lab],
) -> None:
    made = lab(homes())
    made.ping("alice", BOB, *PING, count=10)
    before, pid = sessions(made), made.daemon_pid("alice")
    with netns.inside(made.scope("alice")):
        taken = socket.create_server((ADDRESS, PORT))
    made.rewrite(homes().replace("alice: {", f"alice: {{metrics: '{AT}', "))
    with closing(taken):
        done = run_ltk("apply", str(made.path), status=5)
        assert f"serving metrics at {ADDRESS}, TCP port {PORT}: it is in use" in done.stderr, done.stderr
        assert made.ping("alice", BOB, *PING)["received"] == 3
    made.apply()
    assert scraped(made, "alice")[0] == 200
    made.rewrite(made.yaml.replace(AT, f"0.0.0.0:{PORT}"))
    made.apply()
    assert scraped(made, "alice")[0] == 200
    made.rewrite(homes())
    made.apply()
    with pytest.raises(ConnectionRefusedError):
        scraped(made, "alice")
    no_newer_handshake(before, sessions(made))
    assert made.daemon_pid("alice") == pid
    assert made.plan() == []


def test_ltk_metrics_serves_all_nodes_of_a_topology(lab: Callable[..., Lab]) -> None:
    made = lab(homes())
    with closing(socket.create_server((ADDRESS, 0))) as probe:
        port = int(probe.getsockname()[1])
    words = [sys.executable, "-m", "ltk", "metrics", made.name, "--listen", f"{ADDRESS}:{port}"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY) as server:
        try:
            assert server.stderr
            assert server.stderr.readline() == f"serving on http://{ADDRESS}:{port}/metrics\n"
            connection = http.client.HTTPConnection(ADDRESS, port, timeout=20)
            connection.request("GET", "/metrics")
            samples = parsed(connection.getresponse().read().decode())
            assert {labels["node"] for each in samples.values() for labels, _ in each} == {
                "hub",
                "alice",
                "bob",
            }
            taken = run_ltk("metrics", made.name, "--listen", f"{ADDRESS}:{port}", status=1)
            assert "it is in use" in taken.stderr
        finally:
            server.terminate()
            server.wait(10)
    run_ltk("metrics", made.name, "--listen", "localhost", status=3)
