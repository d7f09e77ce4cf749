"""`ltk capture --decrypt` shows what is inside of the tunnel to who may know, and nobody else learns keys."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from pathlib import Path

from harness import Lab, run_ltk, wait_for
from test_looking import Packet, capturing, ended, packets_of

from ltk.kernel import paths
from ltk.node.disclosure import ask_for_keys
from ltk.protocol.primitives import encode_key

PATTERN = "6c746b212a"
RELAYED = """
name: opened
network: {subnet: 10.0.0.0/24, p2p: off}
nodes:
  hub: {role: server, address: 10.0.0.1}
  alice: {address: 10.0.0.2}
  bob: {address: 10.0.0.3}
lab:
  sites:
    cloud: {hosts: [hub]}
    home: {nat: port-restricted, hosts: [alice]}
    office: {nat: port-restricted, hosts: [bob]}
"""
SENT = 1 << 20  # bytes, in bursts
SEND = f"""
import socket
out = socket.create_connection(("10.0.0.3", 7000), 30)
out.sendall(bytes(number % 251 for number in range({SENT})))
out.close()
"""
RECEIVE = """
import socket
server = socket.create_server(("10.0.0.3", 7000))
print("ready", flush=True)
stream, _ = server.accept()
while stream.recv(65536):
    pass
"""
NOBODY = 65534
SYN = 0x02  # of TCP's flags


def echoes(packets: list[Packet]) -> set[tuple[int, int]]:
    """Kind and number of the echo messages with the pattern in them."""
    return {
        (each.data[20], int.from_bytes(each.data[26:28], "big"))
        for each in packets
        if each.data[9] == 1 and bytes.fromhex(PATTERN) * 3 in each.data
    }


def test_a_ping_is_seen_inside_of_what_carries_it_by_its_ends_and_not_by_the_relay(
    lab: Lab, tmp_path: Path
) -> None:
    here = lab(RELAYED)
    file = tmp_path / "inside.pcapng"
    assert here.ping("alice", "10.0.0.3")["received"] == 3
    with (
        capturing("opened", "alice:eth0", "office", "--decrypt", "-w", str(file), "--live") as ends,
        capturing("opened", "hub", "--decrypt") as relay,
    ):
        assert here.ping("alice", "10.0.0.3", "-p", PATTERN, count=20)["received"] == 20
        lines, said = ended(ends)
        relayed, relay_said = ended(relay)
    packets = packets_of(file)
    both = {(kind, number) for kind in (8, 0) for number in range(1, 21)}
    for place in ("alice:eth0", "office:lan", "office:wan"):
        assert echoes([each for each in packets if each.place == place]) == set(), "sealed outside"
        assert echoes([each for each in packets if each.place == f"{place} inside"]) == both
    assert any(
        re.fullmatch(
            r"[\d:.]+ alice:eth0 +out   inside: 10\.0\.0\.2 > 10\.0\.0\.3  icmp echo request, .*", each
        )
        for each in lines
    ), "\n".join(lines)
    assert " 0 are of sessions of others" in said
    times = [each.time for each in packets]
    assert times == sorted(times)
    through = [each for each in relayed if "relayed by channel" in each]
    assert len(through) >= 80, "each message came to the relay and left it"
    assert not any("10.0.0.2 > 10.0.0.3" in each for each in relayed), (
        "the relay has opened what is not its own"
    )
    found = re.search(r"; (\d+) are of sessions of others", relay_said)
    assert found, relay_said
    assert int(found[1]) >= 80


def test_bursts_are_opened_and_so_is_what_comes_after_a_new_handshake(
    quickstart: Lab, tmp_path: Path
) -> None:
    file = tmp_path / "burst.pcapng"
    assert quickstart.ping("alice", "10.0.0.3")["received"] == 3
    with capturing("quickstart", "internet:home", "--decrypt", "-w", str(file)) as process:
        with quickstart.running("bob", sys.executable, "-c", RECEIVE) as receiver:
            assert receiver.stdout
            assert receiver.stdout.readline() == "ready\n"
            quickstart.run("alice", sys.executable, "-c", SEND)
            # who sends is done as soon as its own kernel has all
            assert receiver.wait(60) == 0, "not all has arrived"
        before = quickstart.daemon_pid("bob")
        os.kill(before, 9)
        wait_for(lambda: restarted(quickstart, "bob", before), "bob's daemon to be started again")
        answered = ("alice", "10.0.0.3", "-W", "1")
        wait_for(lambda: quickstart.ping(*answered, count=1)["received"], "an answer of the new daemon", 60)
        again = quickstart.ping("alice", "10.0.0.3", "-p", PATTERN, count=20)
        assert again["received"] == 20, again["output"]
        _, said = ended(process)
    assert "missed" not in said, "there was room for all of it"
    inside = [each for each in packets_of(file) if each.place == "internet:home inside"]
    assert stream_of(inside) == bytes(number % 251 for number in range(SENT))
    assert max(len(each.data) for each in inside) <= 1380, "each is a packet of its own"
    requests = {number for kind, number in echoes(inside) if kind == 8}
    assert len(requests) >= again["received"], "what came after the new handshake was not opened"


def restarted(lab: Lab, node: str, before: int) -> bool:
    """Whether another daemon of the node answers."""
    nodes = {each["name"]: each for each in lab.status()["nodes"]}
    return nodes[node]["state"] == "running" and lab.daemon_pid(node) != before


def stream_of(packets: list[Packet]) -> bytes:
    """What the TCP segments to bob carry; some of it may have been sent again, in other pieces."""
    stream, first = bytearray(), 0
    for each in packets:
        start = (each.data[0] & 15) * 4
        if each.data[9] != 6 or each.data[19] != 3:
            continue
        number, flags = int.from_bytes(each.data[start + 4 : start + 8], "big"), each.data[start + 13]
        if flags & SYN:
            first = number + 1
        payload = each.data[start + (each.data[start + 12] >> 4) * 4 :]
        at = (number - first) % (1 << 32)
        if payload:
            stream.extend(bytes(max(0, at + len(payload) - len(stream))))
            stream[at : at + len(payload)] = payload
    return bytes(stream)


def test_keys_are_told_to_root_who_asks_for_them_and_stand_nowhere_else(
    quickstart: Lab, tmp_path: Path
) -> None:
    file = tmp_path / "inside.pcapng"
    assert quickstart.ping("alice", "10.0.0.3")["received"] == 3
    with capturing("quickstart", "alice:eth0", "--decrypt", "-w", str(file), "--live") as process:
        assert quickstart.ping("alice", "10.0.0.3")["received"] == 3
        lines, said = ended(process)
    keys = [
        key
        for node in ("hub", "alice", "bob")
        for each in ask_for_keys(paths.control_socket("quickstart", node))
        for key in (each.send, each.receive)
    ]
    assert len(keys) >= 8
    told = {
        "status": json.dumps(quickstart.status()),
        "why": run_ltk("why", "quickstart", "alice", "bob", "-o", "json").stdout,
        "metrics": run_ltk("metrics", "quickstart").stdout,
        "the capture": "\n".join([*lines, said]),
        "the capture file": file.read_bytes().decode("latin-1"),
    }
    for folder in (paths.run_folder("quickstart"), paths.state_folder("quickstart")):
        told |= {
            str(each): each.read_bytes().decode("latin-1") for each in folder.rglob("*") if each.is_file()
        }
    for where, text in told.items():
        for key in keys:
            for shape in (key.decode("latin-1"), key.hex(), encode_key(key)):
                assert shape not in text, f"a session's key stands in {where}"

    path = paths.control_socket("quickstart", "alice")
    assert ask_as_nobody(path) == "PermissionError", "nobody but root may even ask"
    path.chmod(0o666)
    path.parent.chmod(0o755)
    refused = json.loads(ask_as_nobody(path))
    assert refused["ok"] is False, "another user was told the keys"
    assert "only the daemon's own user may" in refused["error"]


def ask_as_nobody(path: Path) -> str:
    """What another user is answered who asks for keys, or the name of the error."""
    read, write = os.pipe()
    child = os.fork()  # and no program: this one's interpreter may be root's alone
    if child == 0:
        answer = b"it was not asked"
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(30)
                connection.connect(str(path))
                connection.sendall(b'{"do": "session-keys"}\n')
                answer = connection.recv(1 << 16)
        except OSError as error:
            answer = type(error).__name__.encode()
        finally:
            os.write(write, answer)
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answered:
        said = answered.read().decode()
    os.waitpid(child, 0)
    return said


def test_where_nobody_tells_keys_nothing_is_captured(quickstart: Lab) -> None:
    run_ltk("fault", "quickstart", "kill", "alice")
    refused = run_ltk("capture", "quickstart", "alice:eth0", "--decrypt", "--seconds", "1", status=1)
    assert "no process listens there" in refused.stderr
    assert refused.stdout == ""
    partly = run_ltk("capture", "quickstart", "internet", "--decrypt", "--seconds", "1")
    assert "no process listens there" in partly.stderr
    assert "opened " in partly.stderr
