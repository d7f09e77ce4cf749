"""What is tried out on a real host: changes that cut one off, changes that fail, and what is in the way."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pytest
from figures import Figure, Judge
from four_machines import EVERYWHERE, IN_TUNNEL, WEB, World, joined, underlay
from harness import wait_for
from host_drifts import OF_ANY, OF_THE_LED, OF_THE_WAY_OUT, foreign
from real_machines import Machine
from watching import Watcher, watching

NOTED = ("sh", "-c", 'echo $$ >/run/watch; exec "$@"', "sh")  # so that it can be ended by its number
BAR = 1.0  # seconds, as promised
LED = f"routes: [192.168.50.0/24, {EVERYWHERE}]"
PLAIN = "routes: [192.168.50.0/24]"
DEAD = {"gate": PLAIN, "dead": f"routes: [{EVERYWHERE}]"}  # the way out is a machine that there is none of
CARRIER = re.compile(
    r"NO-CARRIER,|,LOWER_UP|state \w+ | linkdown"
)  # of a device: whether anybody is attached
TAKEN = 5000  # a port of alice's that another program has
SHELL = """
import socket, subprocess
server = socket.create_server(("0.0.0.0", 7000))
print("listening", flush=True)
session, _ = server.accept()
subprocess.Popen(["sh"], stdin=session, stdout=session, stderr=session, start_new_session=True).wait()
"""
CLIENT = """
import socket, sys, threading
session = socket.create_connection((sys.argv[1], 7000))
answers = session.makefile("r")
threading.Thread(target=lambda: [print(line, end="", flush=True) for line in answers], daemon=True).start()
for line in sys.stdin:
    session.sendall(line.encode())
"""
TERMINAL = """
import os, pty, signal, sys
shell, terminal = pty.fork()
if shell == 0:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.execvp("sh", ["sh", "-c", sys.argv[1] + "; echo do''ne; sleep 1000"])
said = b""
while b"done" not in said:
    said += os.read(terminal, 4096)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(shell, 0)[1]))
"""
ATTACHER = """
import fcntl, struct, sys, time
def addresses():
    return open("/proc/sys/net/ipv6/conf/ltk-trio/addr_gen_mode").read()
before, deadline = addresses(), time.monotonic() + 30
with open("/dev/net/tun", "r+b", buffering=0) as device:
    # TUNSETIFF with IFF_TUN, IFF_NO_PI and IFF_VNET_HDR of linux/if_tun.h
    fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"ltk-trio", 0x5001))
    while addresses() == before:
        assert time.monotonic() < deadline, "the kernel has not seen that a program has attached"
"""  # the first carrier of a device changes how it gets its addresses, for good
HOLDER = f"""
import socket, time
taken = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)]
taken[1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
for each, address in zip(taken, ("0.0.0.0", "::")):
    each.bind((address, {TAKEN}))
print("bound", flush=True)
time.sleep(1000)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The server and the way out are up."""
    with joined(tmp_path_factory.mktemp("world")) as found:
        yield found


@pytest.fixture(autouse=True)
def _alice_is_left_as_she_was(world: World) -> Iterator[None]:
    """Whatever a test does, her machine is the same afterwards, once what is ltk's is destroyed."""
    before = world.alice.state()
    world.put_key()
    yield
    world.alice.ltk("destroy", "trio", status=None)
    world.alice.run("rm", "-rf", "/run/systemd", "/run/played", "/run/bin")
    assert_unchanged(world.alice, before, "alice's machine is not what it was")


@pytest.mark.parametrize("version", [6, 4], ids=["server-by-ipv6", "server-by-ipv4"])
def test_both_families_leave_by_the_exit_node_and_the_tunnel_itself_does_not(
    world: World, version: int
) -> None:
    world.alice.apply(world.file(version=version, gate=LED))
    world.reach(*IN_TUNNEL["hub"].values(), *WEB.values())
    before = {name: world.seen("web", name) for name in ("alice", "gate")}
    for target in WEB.values():
        assert world.alice.ping(target, count=5) == 5
    after = {name: world.seen("web", name) for name in ("alice", "gate")}
    for family in (4, 6):
        assert after["gate"][family] >= before["gate"][family] + 5, "the exit node did not lead them on"
        assert after["alice"][family] == before["alice"][family] == 0, "it went past the exit node"
    assert world.seen("tunnel", "alice")[version] > 0, "the server was not reached by its endpoint's family"


@contextmanager
def watched(machine: Machine) -> Iterator[Watcher]:
    """`ltk watch --fix` on a machine, for as long as the body takes; it ends by a signal."""
    with watching("trio", "--fix", at=machine.command(*NOTED)) as watcher:
        try:
            yield watcher
        finally:
            machine.run("sh", "-c", "kill $(cat /run/watch)")
            status = watcher.join()
        assert status == 0, watcher.said


def test_drift_of_every_kind_on_a_host_is_told_and_undone_and_the_rest_is_untouched(
    world: World, held: Judge
) -> None:
    """On a client that is led out, and on the way out, at once."""
    alice, gate = world.alice, world.at["gate"]
    alice.apply(world.file(gate=LED))
    world.reach(*IN_TUNNEL["gate"].values(), *WEB.values())
    before = foreign(alice)
    drifts = {"alice": (*OF_ANY, *OF_THE_LED), "gate": (*OF_ANY, *OF_THE_WAY_OUT)}
    key = alice.run("cat", "/var/lib/ltk/trio/alice.key")
    with (
        watched(alice) as watcher,
        watched(gate) as another,
        ThreadPoolExecutor(2) as both,
    ):
        undone = both.map(
            lambda name: [(each.name, each.undone_after(world.at[name])) for each in drifts[name]], drifts
        )
        after: dict[str, list[float]] = {}
        for name, seconds in chain.from_iterable(undone):
            after.setdefault(name, []).append(seconds)
        world.reach(*IN_TUNNEL["gate"].values(), *WEB.values())
        assert foreign(alice) == before
        assert alice.run("cat", "/var/lib/ltk/trio/alice.key") == key, "nobody would know her any more"
        assert watcher.of("failed") == another.of("failed") == []
        for watch in (watcher, another):
            told = {each["resource"] for each in watch.of("drift")}
            assert {"tun", "address", "ruleset", "daemon", "secret", "setting"} <= told
        assert {"route", "rule"} <= {each["resource"] for each in watcher.of("drift")}
    print("\n".join(f"{name}: {', '.join(f'{each:.2f} s' for each in took)}" for name, took in after.items()))
    every = tuple(chain.from_iterable(after.values()))
    held([Figure("R13", "drift of every kind, on hosts", BAR, every)], len(every))


def test_the_end_of_a_daemon_that_systemd_keeps_is_heard_of(world: World) -> None:
    """Its part is played by one who starts nothing again by himself."""
    alice = world.alice
    alice.play_systemd()
    alice.apply(world.file(gate=PLAIN))
    daemons = alice.daemons()
    with watched(alice) as watcher:
        alice.run("kill", "-9", *map(str, daemons))
        watcher.wait_for("fixed")
        wait_for(lambda: alice.daemons() not in ([], daemons), "another daemon")
        world.reach(IN_TUNNEL["hub"][6])
        assert [each["resource"] for each in watcher.of("drift")] == ["daemon"]


@contextmanager
def shell_from_the_hub(world: World) -> Iterator[subprocess.Popen[str]]:
    """A shell on alice's machine, as by SSH at her own address on the internet."""
    pipe = subprocess.PIPE
    listening = world.alice.command(sys.executable, "-c", SHELL)
    connected = world.at["hub"].command(sys.executable, "-c", CLIENT, underlay("alice", 4))
    with subprocess.Popen(listening, stdout=pipe, text=True) as agent:
        assert agent.stdout
        assert agent.stdout.readline() == "listening\n"
        with subprocess.Popen(connected, stdin=pipe, stdout=pipe, text=True) as session:
            yield session
            assert session.stdin
            session.stdin.write("exit\n")
            session.stdin.close()


def assert_unchanged(
    machine: Machine, before: dict[str, str], otherwise: str = "it is not as it was"
) -> None:
    """Its state is the same, but for a log and its folder, and for what the kernel comes to by and by."""
    found = []
    for what, text in machine.state().items():
        was, now = (set(CARRIER.sub("", each).splitlines()) for each in (before[what], text))
        found += [f"- {line}" for line in sorted(was - now)] + [f"+ {line}" for line in sorted(now - was)]
    of_a_log = (".log", "/run/ltk", "/run/ltk/trio", "/run/ltk/trio/lock")
    found = [line for line in found if not line.endswith(of_a_log)]
    assert not found, "\n".join([f"{machine.name}: {otherwise}", *found])


def typed(session: subprocess.Popen[str], command: str) -> None:
    """Type a command in a shell."""
    assert session.stdin
    session.stdin.write(f"{command}\n")
    session.stdin.flush()


def answer(session: subprocess.Popen[str]) -> str:
    """The next line that comes back."""
    assert session.stdout
    return session.stdout.readline().strip()


def waits(alice: Machine) -> bool:
    """Whether a change awaits its confirmation there."""
    return json.loads(alice.ltk("status", "trio", "-o", "json"))["unconfirmed"] is not None


def kept(alice: Machine) -> str:
    """What a boot would bring back."""
    return alice.run("cat", "/var/lib/ltk/trio/topology.yaml")


def test_a_way_out_that_cuts_one_off_goes_by_itself_and_the_shell_comes_back(world: World) -> None:
    """By the very connection that is cut: the answers go into a tunnel that ends nowhere."""
    alice, hub = world.alice, world.at["hub"]
    alice.apply(world.file(gate=PLAIN))
    before, kept_before = alice.state(), kept(alice)
    file = world.file(**DEAD)
    with shell_from_the_hub(world) as session:
        typed(session, f"{sys.executable} -m ltk apply {file} --confirm 6s >/dev/null 2>&1; echo $?")
        wait_for(lambda: waits(alice), "the change to await its confirmation")
        assert not hub.reaches(underlay("alice", 4)), "nobody was cut off, so that this shows nothing"
        assert kept(alice) == kept_before, "after a boot it would be there for good, unconfirmed"
        assert answer(session) == "0"
        typed(session, "echo still here")
        assert answer(session) == "still here"
    wait_for(lambda: not alice.runs("ltk.confirm"), "the guard to go")
    assert_unchanged(alice, before)
    assert kept(alice) == kept_before
    assert alice.apply(world.file(gate=PLAIN))["changes"] == []


def test_the_guard_outlives_the_terminal_and_a_confirmed_change_stays(world: World) -> None:
    alice = world.alice
    alice.apply(world.file(gate=PLAIN))
    before = alice.state()
    file = world.file(gate=LED)
    words = f"{sys.executable} -m ltk apply {file} --yes --confirm 3s"
    assert alice.run(sys.executable, "-c", TERMINAL, words).split()[-1] == "-1"  # of SIGHUP
    wait_for(lambda: not alice.runs("ltk.confirm"), "the change to be undone")
    assert_unchanged(alice, before)

    assert "no single machine can tell" in alice.ltk("apply", str(file), "--confirm", "auto", status=None)
    assert_unchanged(alice, before)
    alice.apply(file, "--confirm", "5m")
    assert "0.0.0.0/0" not in kept(alice), "after a boot it would be there for good, unconfirmed"
    alice.network("link delete ltk-trio")  # meanwhile it is repaired as ever
    world.reach(IN_TUNNEL["hub"][4])
    alice.ltk("confirm", "trio")
    wait_for(lambda: not alice.runs("ltk.confirm"), "the guard to go")
    assert "0.0.0.0/0" in kept(alice)
    assert alice.apply(file)["changes"] == []
    assert "0x6c74" in alice.run("ip", "rule")


def test_an_apply_that_fails_leaves_the_machine_as_it_was(world: World) -> None:
    """It fails at its end: the port of the daemon is another program's."""
    alice = world.alice
    with subprocess.Popen(
        alice.command(sys.executable, "-c", HOLDER), stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "bound\n"
        untouched = alice.state()
        first = {"alice": f"listen: {TAKEN}, routes: [192.168.60.0/24, {EVERYWHERE}]"}  # she is a way out
        alice.ltk("apply", str(world.file(**first)), "--node", "alice", status=5)
        assert_unchanged(alice, untouched)

        alice.apply(world.file(gate=LED), "--node", "alice")
        world.reach(WEB[4])
        before = alice.state()
        assert "all is as it was" in alice.ltk("apply", str(world.file(**first)), status=None)
        assert_unchanged(alice, before)
        assert alice.ping(WEB[6]) == 3
        holder.kill()


IN_THE_WAY = (
    "ip tuntap add ltk-trio mode tun",
    "ip link set ltk-trio up mtu 1400",
    "ip address add 10.9.0.3/24 dev ltk-trio",
    "ip route add 192.168.50.0/24 dev theirs metric 100 src 192.168.1.5",
    "ip route add 192.168.50.0/24 dev eth0 metric 600 proto static",
    "ip route add blackhole 192.168.51.0/24",
)


def test_what_is_in_the_way_is_taken_over_on_request_and_given_back_by_what_fails(world: World) -> None:
    alice, file = world.alice, world.file(gate="routes: [192.168.50.0/24, 192.168.51.0/24]")
    for command in IN_THE_WAY:
        alice.run(*command.split())
    alice.run(sys.executable, "-c", ATTACHER)
    before = alice.state()
    said = alice.run(sys.executable, "-m", "ltk", "apply", str(file), status=None)
    for words in (
        "the device ltk-trio is not trio's",
        "address 10.9.0.3/24 dev ltk-trio was made by somebody else",
        "route 192.168.50.0/24 dev theirs was made by somebody else",
        "route 192.168.51.0/24 was made by somebody else",
    ):
        assert words in said
    alice.ltk("apply", str(file), status=4)
    assert_unchanged(alice, before)

    alice.ltk("apply", str(file), "--adopt", "--confirm", "1s")
    wait_for(lambda: not alice.runs("ltk.confirm"), "the change to be undone")
    assert_unchanged(alice, before, "what was taken over was not given back")

    alice.network("address add 10.9.0.66/32 dev theirs")
    overlapping = alice.state()
    assert "theirs has 10.9.0.66/32" in alice.ltk("apply", str(file), "--adopt", status=None)
    assert_unchanged(alice, overlapping)
    alice.network("address delete 10.9.0.66/32 dev theirs")

    taken = [each for each in alice.apply(file, "--adopt")["changes"] if "taken over" in each["reason"]]
    assert sorted(each["resource"] for each in taken) == ["address", "route", "route", "tun"]
    assert alice.apply(file)["changes"] == []
    world.reach(IN_TUNNEL["gate"][4])
    assert alice.run("ip", "route", "show", "192.168.50.0/24").count("\n") == 1


def test_two_topologies_on_one_machine_do_not_touch_each_other(world: World) -> None:
    alice = world.alice
    other = world.folder / "duo.yaml"
    alice.ltk("destroy", "trio")  # her key alone is of it
    key = alice.key("duo")
    text = world.file(gate=PLAIN).read_text().replace("trio", "duo").replace("10.9.0", "10.10.0")
    other.write_text(
        text.replace("fd09:", "fd10:").replace("192.168.50", "192.168.60").replace(world.keys["alice"], key)
    )
    alice.apply(other, "--node", "alice")
    try:
        stay_apart(world, other)
    finally:
        alice.ltk("destroy", "duo", status=None)


def stay_apart(world: World, other: Path) -> None:
    """One comes and goes beside the other, which is up, and then the other goes."""
    alice = world.alice
    alone = alice.state()
    daemons = alice.daemons()
    world.put_key()
    alice.apply(world.file(gate=LED))
    world.reach(IN_TUNNEL["gate"][4])
    assert alice.apply(other)["changes"] == []
    alice.ltk("destroy", "trio")
    assert_unchanged(alice, alone, "the one has taken something of the other's away")
    assert alice.daemons() == daemons
    world.put_key()
    alice.apply(world.file(gate=LED))
    alice.ltk("destroy", "duo")
    world.reach(IN_TUNNEL["gate"][6], WEB[4])
    assert alice.apply(world.file(gate=LED))["changes"] == []
