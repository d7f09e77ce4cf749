"""What others' STUN programs see of the lab's NATs, and of ltk's own STUN answers.

Two of them look: `stun` (RFC 3489, the classic words for a NAT) and coturn's `turnutils_natdiscovery` (RFC
5780). What they ask is coturn, which stands on the internet at both of its addresses. Neither shares a line
with `ltk nat`, which has to come to the same result.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from captures import Datagram, datagrams
from harness import Lab, run_ltk, wait_for

PROGRAMS = {"stun": "stun-client", "turnserver": "coturn", "turnutils_natdiscovery": "coturn"}
NATS = (
    *("none", "firewall", "full-cone", "restricted-cone", "port-restricted", "symmetric", "home"),
    *("symmetric-sequential", "mobile", "cloud", "cgnat", "corporate", "hotel"),
    *("{mapping: address-dependent, filtering: endpoint-independent}", "{ports: block-512, hairpin: true}"),
)
SERVED = "203.0.113.3", 51820  # the hub: after the core and the cloud's router
STUN_PORT, OTHER_PORT = 3478, 3479
AT_ONCE = 4  # `stun` waits a second for what does not come, and no longer for what does
SMALLEST_ANSWER = 32  # bytes: XOR-MAPPED-ADDRESS of IPv4 and the header
RFC3489 = {
    "endpoint-independent": "Independent Filter",
    "address-dependent": "Address Dependent Filter",
    "address-and-port-dependent": "Port Dependent Filter",
}
RFC5780 = {
    "none": "Endpoint Independent",
    "endpoint-independent": "Endpoint Independent",
    "address-dependent": "Address Dependent",
    "address-and-port-dependent": "Address and Port Dependent",
}


@pytest.fixture(scope="module", autouse=True)
def _programs_are_installed() -> None:
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    for package in sorted(missing):
        known = shutil.which("apt-cache") and subprocess.run(
            ["apt-cache", "show", package], capture_output=True, check=False
        )
        if not known or known.returncode:
            pytest.skip(f"this system has no package {package}: nobody else's view of the NATs is compared")
    assert not missing, f"nothing is proven without these: apt-get install {' '.join(sorted(missing))}"


def topology() -> str:
    nodes = "".join(f"  h{number}: {{role: wireguard}}\n" for number in range(len(NATS)))
    sites = "".join(f"    s{number}: {{nat: {nat}, hosts: [h{number}]}}\n" for number, nat in enumerate(NATS))
    return f"""
name: views
network: {{subnet: 10.77.0.0/24}}
nodes:
  hub: {{role: server, address: 10.77.0.1}}
{nodes}lab:
  sites:
    cloud: {{hosts: [hub]}}
{sites}"""


@contextmanager
def coturn(lab: Lab, folder: Path) -> Iterator[str]:
    """coturn on the internet, as a STUN server with two addresses and two ports; gives the first address."""
    listed = json.loads(lab.run("internet", "ip", "-j", "-4", "address", "show", "dev", "lo").stdout)
    held = [each["local"] for each in listed[0]["addr_info"] if each["scope"] == "global"]
    first, second = sorted(held, key=lambda address: not address.startswith("203.0.113."))
    words = f"turnserver -n --stun-only -L {first} -L {second} --listening-port {STUN_PORT} --no-cli --no-tls"
    words += f" --alt-listening-port {OTHER_PORT} --no-dtls --log-file stdout --pidfile {folder}/pid"
    log = folder / "coturn.log"
    with log.open("w") as output:
        given = {"stdout": output, "stderr": subprocess.STDOUT}
        with lab.running("internet", *words.split(), "--userdb", str(folder / "db"), **given):
            wanted = {f"{address}:{port}" for address in held for port in (STUN_PORT, OTHER_PORT)}
            wait_for(
                lambda: wanted <= set(lab.run("internet", "ss", "-Huln").stdout.split()),
                f"coturn to listen at {wanted}; it said: {log}",
            )
            yield first


def classic(lab: Lab, host: str, server: str) -> str:
    """The words of `stun` for the NAT in front of a host."""
    said = lab.run(host, "stun", server, check=False, timeout=40).stdout
    found = re.search(r"^Primary: (.*?)\s*$", said, re.MULTILINE)
    assert found, said
    return found[1]


def discovered(lab: Lab, host: str, server: str) -> dict[str, Any]:
    """What `turnutils_natdiscovery` finds: the words for mapping and filtering, and whether hairpins come."""
    said = lab.run(host, "turnutils_natdiscovery", "-m", "-f", "-H", server, check=False, timeout=60).stdout
    words = {key: re.findall(rf"NAT with (.*) {key.capitalize()}!", said) for key in ("mapping", "filtering")}
    return words | {"hairpin": "successful hairpinning" in said}


def in_classic_words(found: dict[str, Any]) -> str:
    """What RFC 3489 calls a NAT that `ltk nat` has found to be this."""
    if found["udp"] != "allow":
        return "Blocked or could not reach STUN server"
    if found["mapping"] == "none":
        return "Open" if found["filtering"] == "endpoint-independent" else "Firewall"
    hairpin = "will hairpin" if found["hairpin"] else "no hairpin"
    ports = "preserves ports" if found["ports"] == "preserve" else "random port"
    if found["mapping"] != "endpoint-independent":
        return f"Dependent Mapping, {ports}, {hairpin}"
    return f"Independent Mapping, {RFC3489[found['filtering']]}, {ports}, {hairpin}"


def in_words_of_rfc5780(found: dict[str, Any]) -> dict[str, Any]:
    """What coturn's program says of it; a host without NAT meets its own address within itself."""
    if found["udp"] != "allow":
        return {"mapping": [], "filtering": [], "hairpin": False}
    mapping, filtering = ([RFC5780[found[key]]] for key in ("mapping", "filtering"))
    return {"mapping": mapping, "filtering": filtering, "hairpin": found["hairpin"] is not False}


def looked_at(
    look: Callable[[str], Any], at_once: int, expected: dict[str, Any], few: set[str]
) -> dict[str, Any]:
    """What a program says of the NAT in front of each host, so many at once.

    Of 512 ports a NAT gives by chance two destinations the same, once in some hundreds of looks, and then it
    looks like another one: of those with so `few`, one that is not as expected is looked at once more.
    """
    with ThreadPoolExecutor(at_once) as pool:
        found = dict(zip(expected, pool.map(look, expected), strict=True))
    return found | {host: look(host) for host in few if found[host] != expected[host]}


def test_others_see_of_every_preset_what_ltk_nat_sees(lab: Callable[..., Lab], tmp_path: Path) -> None:
    made = lab(topology())
    told = json.loads(run_ltk("nat", made.name, "-o", "json").stdout)["sites"]
    found = {each["name"]: each["found"] for each in told if each["name"] != "cloud"}
    hosts = {site: f"h{site[1:]}" for site in found}
    assert len(hosts) == len(NATS)
    words = {hosts[site]: in_classic_words(found[site]) for site in found}
    views = {hosts[site]: in_words_of_rfc5780(found[site]) for site in found}
    few = {hosts[site] for site in found if found[site]["ports"] == "block-512"}
    with coturn(made, tmp_path) as server:
        heard = looked_at(lambda host: classic(made, host, server), AT_ONCE, words, few)
        seen = looked_at(lambda host: discovered(made, host, server), len(hosts), views, few)
    nats = dict(zip(hosts.values(), NATS, strict=True))
    assert {nats[host]: heard[host] for host in heard} == {nats[host]: words[host] for host in words}
    assert {nats[host]: seen[host] for host in seen} == {nats[host]: views[host] for host in views}


def reflexive(lab: Lab, host: str, port: int, *options: str) -> str | None:
    """Where a server at the hub's address says that coturn's client comes from."""
    words = ["turnutils_natdiscovery", "-m", *options, "-p", str(port), SERVED[0]]
    said = lab.run(host, *words, check=False, timeout=40).stdout
    found = re.search(r"UDP reflexive addr: (\S+)", said)
    return found[1] if found else None


@pytest.mark.parametrize("nat", ["port-restricted", "symmetric"])
def test_others_understand_ltks_own_answers_and_hear_where_they_come_from(
    nat: str, lab: Callable[..., Lab]
) -> None:
    """At the server's port and at its second one, and the address is that which the internet sees.

    Who asks with less than the answer is not answered: it would be a gift to whoever forges the source.
    """
    made = lab(f"""
name: answers
network: {{subnet: 10.77.0.0/24}}
nodes:
  hub: {{role: server, address: 10.77.0.1}}
  alice: {{address: 10.77.0.2}}
lab:
  sites:
    cloud: {{hosts: [hub]}}
    home: {{nat: {nat}, hosts: [alice]}}
""")
    assert made.ping("alice", "10.77.0.1")["received"] == 3
    (alice,) = (node for node in made.status()["nodes"] if node["name"] == "alice")
    observed = alice["endpoint_observed"].partition(":")[0]
    listening = made.run("hub", "ss", "-Huln").stdout
    ports = {int(port) for port in re.findall(r"[*:](\d+) +\S+ *$", listening, re.MULTILINE)}
    (second,) = ports - {SERVED[1]}
    for port in (SERVED[1], second):
        with made.capture("internet", "home", f"udp port {port} and host {SERVED[0]}") as stop:
            heard = reflexive(made, "alice", port, "-P")
            assert reflexive(made, "alice", port) is None, "an answer larger than what it answers"
            seen = datagrams(stop())
        asked = {f"{each.source}:{each.port}": len(each.payload) for each in seen if is_stun(each)}
        assert heard in asked
        assert heard.partition(":")[0] == observed
        assert min(asked.values()) < SMALLEST_ANSWER <= asked[heard]


def is_stun(datagram: Datagram) -> bool:
    """Whether it is a request for a binding (RFC 8489, section 5)."""
    return datagram.payload[:2] == b"\0\1" and datagram.payload[4:8] == b"\x21\x12\xa4\x42"
