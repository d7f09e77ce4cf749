"""One real host among what is not ltk's: a namespace without a name, so that ltk in this process is there."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import REPOSITORY, Lab, machine_state, run_ltk, wait_for

from ltk.errors import InTheWayError, InvalidInputError, RolledBackError
from ltk.kernel import netns, paths, sysctl
from ltk.kernel.events import Events
from ltk.reconcile.adopt import REASON
from ltk.reconcile.apply import converge, crashed, locked, preview, remove, wanted
from ltk.reconcile.confirmation import confirm
from ltk.reconcile.drift import repair
from ltk.reconcile.unconfirmed import Awaiting
from ltk.topology.expanded import Topology
from ltk.topology.load import parse_topology

HUB = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
GATE = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
KEY = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="
WEB = "203.0.113.80"
FORWARDS = "net.ipv4.ip_forward"

SOLO = f"""
name: solo
network: {{subnet: 10.9.0.0/24}}
nodes:
  hub: {{role: server, endpoint: "192.0.2.1:51820", public_key: {HUB}}}
  gate: {{routes: [0.0.0.0/0], public_key: {GATE}}}
  alice: {{routes: [192.168.50.0/24]}}
"""
OTHERS = (  # somebody else's, and much like ours
    "link add name uplink type veth peer name beyond",
    "link set beyond up",
    "address add 192.168.1.5/24 dev uplink",
    "link set uplink up",
    "route add default via 192.168.1.1 dev uplink",
    "route add 172.20.0.0/16 dev uplink protocol 108",
    "route add 172.21.0.0/16 dev uplink table 1234",
    "rule add from 172.21.0.0/16 lookup 1234 priority 500",
)


@pytest.fixture
def place() -> Iterator[None]:
    """This thread stands on a machine with an uplink and things of other people."""
    with netns.throwaway():
        sysctl.write("net.ipv6.conf.default.accept_dad", "0")  # no address is ever tentative
        ip(*OTHERS)
        try:
            yield
        finally:
            remove("solo", lambda _: None)


def topology(yaml: str = SOLO, node: str = "alice") -> Topology:
    return parse_topology(
        yaml.encode(), file="solo.yaml", folder=Path("/"), choose_here=lambda _name, _lab: node
    )


def ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)


def quietly(wanted: Topology) -> list[str]:
    return [str(operation) for operation in converge(wanted, lambda _: None).operations]


def test_a_host_gets_what_is_its_own_and_is_afterwards_what_it_was(place: None) -> None:
    before, forwards = machine_state(), sysctl.read(FORWARDS)
    sysctl.write(FORWARDS, "0")
    done = quietly(topology())
    assert f"+ setting {FORWARDS}" in done
    assert sysctl.read(FORWARDS) == "1"
    during = machine_state()
    for what in ("links", "addresses", "routes", "rules"):
        gone = set(before[what].splitlines()) - set(during[what].splitlines())
        assert not gone, "something of somebody else's has gone"
    assert "default dev ltk-solo table 1819" in during["routes"]
    assert "not from all fwmark 0x6c74" in during["rules"]
    assert quietly(topology()) == [], "a second apply has something to do"
    remove("solo", lambda _: None)
    assert sysctl.read(FORWARDS) == "0", "a setting was not given back"
    sysctl.write(FORWARDS, forwards or "0")
    assert machine_state() == before, "something else has changed"


def test_a_setting_that_two_want_is_given_back_by_the_last(place: None) -> None:
    second = SOLO.replace("solo", "duo").replace("10.9.0", "10.10.0").replace("192.168.50", "192.168.60")
    second = second.replace("routes: [0.0.0.0/0], ", "")
    sysctl.write(FORWARDS, "0")
    try:
        quietly(topology())
        going = [each for each in preview(topology(second)) if each.action == "remove"]
        assert going == [], "what is another topology's would be touched"
        quietly(topology(second))
        remove("solo", lambda _: None)
        assert sysctl.read(FORWARDS) == "1", "the other one still wants it"
    finally:
        remove("duo", lambda _: None)
    assert sysctl.read(FORWARDS) == "0", "a setting was not given back"


def test_what_the_file_wants_no_more_is_taken_back(place: None) -> None:
    quietly(topology())
    plain = topology(SOLO.replace("routes: [0.0.0.0/0], ", "").replace("routes: [192.168.50.0/24]", ""))
    assert any(line.startswith("- rule") for line in quietly(plain))
    assert "proto 108" not in machine_state()["rules"]
    assert quietly(plain) == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("route add 192.168.70.0/24 dev uplink metric 600", "route 192.168.70.0/24 dev uplink"),
        ("link add name ltk-solo type veth peer name other", "the device ltk-solo is not solo's"),
        ("address add 10.9.0.77/32 dev uplink", "uplink has 10.9.0.77/32, of the tunnel's own subnet"),
    ],
)
def test_what_is_in_the_way_stays_and_is_named(place: None, command: str, words: str) -> None:
    ip(command)
    before = machine_state()
    box = f"  box: {{routes: [192.168.70.0/24], public_key: {KEY}}}\n"
    with pytest.raises(InTheWayError, match=words):
        quietly(topology(SOLO + box))
    assert machine_state() == before


def test_a_host_is_one_node_until_it_is_destroyed(place: None) -> None:
    quietly(topology())
    key = paths.key_file("solo", "alice").read_text()
    stated = SOLO.replace("alice: {", f"alice: {{public_key: {KEY}, ")
    with pytest.raises(InvalidInputError, match="this machine is alice of it"):
        quietly(topology(stated, "hub"))
    with pytest.raises(InvalidInputError, match="but it is"):
        quietly(topology(stated))
    assert crashed() == [], "gc would take away what a boot brings back"
    assert preview(topology()) == []
    assert paths.key_file("solo", "alice").read_text() == key


def test_a_policy_rule_that_goes_is_heard_of(place: None) -> None:
    events = Events()
    try:
        events.follow([""])
        for version in ("-4", "-6"):
            for do in ("add", "del"):
                ip(f"{version} rule {do} from all lookup 1234 priority 600")
                assert events.read().scopes == {""}, f"nothing was heard of ip {version} rule {do}"
    finally:
        events.close()


def test_a_key_that_is_remembered_is_not_made_anew(place: None) -> None:
    quietly(topology())
    want, key = wanted(topology()), paths.key_file("solo", "alice")
    before = key.read_text()
    key.unlink()
    with locked("solo", "repairing"):
        done = repair(topology(), want).done
    assert key.read_text() == before, "another key was made, which nobody knows"
    assert [str(each) for each in done] == [f"+ secret {key}"]


def test_what_nobody_has_confirmed_does_not_come_back_after_a_boot(place: None) -> None:
    quietly(topology())
    before = paths.wanted_here("solo").read_text()
    changed = topology(SOLO.replace("routes: [0.0.0.0/0], ", ""))
    converge(changed, lambda _: None, awaiting=Awaiting(600.0, auto=False, guard=lambda: None))
    assert paths.wanted_here("solo").read_text() == before, "a boot would bring back what nobody confirmed"
    confirm("solo")
    assert "0.0.0.0/0" not in paths.wanted_here("solo").read_text()


def test_what_was_taken_over_by_an_apply_that_fails_is_given_back(place: None) -> None:
    ip(
        "tuntap add ltk-solo mode tun",
        "link set ltk-solo up",
        "link set ltk-solo down",  # after its first time it has a queue for good
        "address add 10.9.0.3/24 dev ltk-solo",
        "route add 192.168.70.0/24 dev uplink metric 600",
        "route add prohibit 192.168.70.0/24",
    )
    before = machine_state()
    box = f"  box: {{routes: [192.168.70.0/24], public_key: {KEY}}}\n"
    file = topology(SOLO.replace("alice: {", "alice: {address: 10.9.0.3, listen: 5000, ") + box)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as another:
        another.bind(("::", 5000))
        with pytest.raises(RolledBackError, match="all is as it was"):
            converge(file, lambda _: None, adopting=True)
        assert machine_state() == before, "what was taken over was not given back"
    done = converge(file, lambda _: None, adopting=True).operations
    assert sorted(each.resource.kind for each in done if each.reason == REASON) == ["address", "route", "tun"]


@pytest.mark.parametrize("cafe", ["symmetric", "{preset: home, udp: block}"], ids=["udp", "tcp"])
def test_in_a_lab_too_the_internet_sees_the_exit_node(lab: Callable[..., Lab], cafe: str) -> None:
    text = (REPOSITORY / "topologies" / "way-out.yaml").read_text()
    here = lab(text.replace("cafe: {nat: symmetric,", f"cafe: {{nat: {cafe},"))
    seen = here.run("home", "ip", "-o", "-4", "address", "show", "dev", "wan").stdout.split()[3].split("/")[0]
    wait_for(lambda: here.ping("alice", WEB, count=1)["received"], "alice reaches a server on the internet")
    with here.capture("web", "eth0", "icmp[icmptype] == icmp-echo") as stop:
        assert here.ping("alice", WEB, count=5)["received"] == 5
        words = ["tcpdump", "-n", "-r", "-"]
        read = subprocess.run(words, input=stop(), capture_output=True, check=True).stdout.decode()
    askers = {line.split(" IP ")[1].split(" > ")[0] for line in read.splitlines() if " IP " in line}
    assert askers == {seen}, "the internet saw somebody else than the exit node"


def test_the_daemons_of_a_lab_have_next_to_no_privileges(quickstart: Lab) -> None:
    for node in ("hub", "alice", "bob"):
        status = Path(f"/proc/{quickstart.daemon_pid(node)}/status").read_text().split("\n")
        told = dict(line.split(":\t", 1) for line in status if ":\t" in line)
        assert int(told["CapEff"], 16) == 1 << 10 | 1 << 12, "privileges that a daemon does not need"
        assert told["NoNewPrivs"].strip() == "1"


def test_a_file_that_is_not_enough_for_real_hosts_says_what_is_missing(lab: Callable[..., Lab]) -> None:
    here = lab(SOLO, apply=False)
    done = run_ltk("apply", str(here.path), "--node", "gate", status=3)
    assert "the others cannot know its key" in done.stderr
    assert "ltk keygen --for solo/alice" in done.stderr
    done = run_ltk("apply", str(here.path), "--node", "nobody", status=3)
    assert "there is no such node" in done.stderr
    assert "its key" not in done.stderr, "what a file lacks matters to nobody who is not in it"
    here.rewrite(SOLO.replace("alice: {", f"alice: {{public_key: {KEY}, "))
    done = run_ltk("apply", str(here.path), "--node", "nobody", status=3)
    assert "there is no such node" in done.stderr
    assert "hub, gate, alice" in done.stderr
    done = run_ltk("apply", str(here.path), "--node", "alice", status=3)
    assert "the private key is not here" in done.stderr
    assert not paths.run_folder("solo").exists()
