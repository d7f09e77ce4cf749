"""Files that are wrong in form: one message at the exact place, and no secret in it.

In the texts below `§` stands directly before the character at which the problem must be shown.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_files import KEY, check_the_only_problem, lab, problems_of, real

from ltk.topology.load import parse_topology
from ltk.topology.problems import InvalidTopologyError

CASES = {
    # the file as a whole
    "empty": ("§", "", "is empty"),
    "only a comment": ("§# nothing", "", "is empty"),
    "a list": ("§- a\n- b\n", "", "should be a mapping with the keys name, network and nodes, is a list"),
    "plain text": ("§hello\n", "", "is 'hello'"),
    "not YAML": ("name: t\nnetwork: {subnet: 10.0.0.0/24\nnodes§: {}\n", "", "is not valid YAML"),
    "a tab as indent": ("name: t\nnetwork:\n§\tsubnet: 10.0.0.0/24\n", "", "indent with spaces"),
    "two documents": ("name: t\n§---\nname: u\n", "", "second document"),
    "a Python object": ("name: §!!python/object:os.system x\n" + lab()[8:], "name", "means nothing here"),
    "a wrong tag": (
        lab(network="{subnet: 10.0.0.0/24, mtu: §!!int abc}"),
        "network.mtu",
        "not what its tag says",
    ),
    # keys
    "a key twice": (lab(alice="{role: client, §role: client}"), "nodes.alice.role", "first on line 6"),
    "a node twice": (lab(more="  §hub: {}\n"), "nodes.hub", "stands twice"),
    "a misspelt key": (lab(alice="{§adress: 10.0.0.2}"), "nodes.alice.adress", "did you mean 'address'?"),
    "a misspelt dash": (
        lab(alice="{§public-key: x}"),
        "nodes.alice.public-key",
        "did you mean 'public_key'?",
    ),
    "an unknown key": (
        lab(name="name: t\n§zoo: 1"),
        "zoo",
        "known are name, network, defaults, nodes, pairs, lab",
    ),
    "an unknown key of a host": (
        lab(home="{hosts: {alice: {§adres: 1.2.3.4}}}"),
        "lab.sites.home.hosts.alice.adres",
        "did you mean 'address'?",
    ),
    "a key that is a list": (lab(more="  §[a, b]: {}\n"), "nodes", "a key that is not text"),
    "a missing name": (lab(name="§"), "name", "is missing"),
    "a missing subnet": (
        lab(network="{mtu: 1400}").replace("network", "§network"),
        "network.subnet",
        "is missing",
    ),
    "an empty value": (lab(alice="{§address: }"), "nodes.alice.address", "is empty"),
    # values
    "a number for a name": (
        lab(name="name: §12"),
        "name",
        "should be text, is the number 12 (put it in quotes)",
    ),
    "a long name": (lab(name="name: §" + "n" * 25), "name", "at most 24 characters, has 25"),
    "a name with a dot": (lab(name="name: §a.b"), "name", "made of letters, digits and '-'"),
    "a word for a number": (
        lab(network="{subnet: 10.0.0.0/24, mtu: §abc}"),
        "network.mtu",
        "whole number, is 'abc'",
    ),
    "a quoted number": (lab(alice="{listen: §'80'}"), "nodes.alice.listen", "without the quotes"),
    "a fraction": (lab(alice="{listen: §1.5}"), "nodes.alice.listen", "whole number, is the number 1.5"),
    "true for a number": (lab(alice="{listen: §true}"), "nodes.alice.listen", "whole number, is true"),
    "yes for true": (
        lab(hub="{role: server, isolation: §yes}"),
        "nodes.hub.isolation",
        "true or false, is 'yes'",
    ),
    "a small MTU": (lab(network="{subnet: 10.0.0.0/24, mtu: §575}"), "network.mtu", "at least 576, is 575"),
    "a large MTU": (lab(network="{subnet: 10.0.0.0/24, mtu: §65536}"), "network.mtu", "at most 65535"),
    "a high port": (lab(alice="{listen: §65536}"), "nodes.alice.listen", "at most 65535"),
    "a negative keepalive": (lab(alice="{keepalive: §-1}"), "nodes.alice.keepalive", "at least 0"),
    "a long keepalive": (lab(alice="{keepalive: §65536}"), "nodes.alice.keepalive", "at most 65535"),
    "a long keepalive for all": (
        lab(defaults="{node: {keepalive: §65536}}"),
        "defaults.node.keepalive",
        "65535",
    ),
    "a misspelt role": (lab(alice="{role: §cleint}"), "nodes.alice.role", "did you mean 'client'?"),
    "an unknown NAT": (
        lab(home="{nat: §cone, hosts: [alice]}"),
        "lab.sites.home.nat",
        "should be none, firewall, full-cone, restricted-cone, port-restricted, symmetric,",
    ),
    "a list for a node": (lab(alice="§[]"), "nodes.alice", "should be a mapping, is a list"),
    "a word for the hosts": (
        lab(home="{hosts: §alice}"),
        "lab.sites.home.hosts",
        "should be a list of names",
    ),
    "a number among the hosts": (
        lab(home="{hosts: [alice, §3]}"),
        "lab.sites.home.hosts[1]",
        "should be text",
    ),
    "no subnet in the list": (lab(network="{subnet: §[]}"), "network.subnet", "should not be empty"),
    "a count of none": (lab(alice="{count: §0}"), "nodes.alice.count", "at least 1"),
    "an absurd count": (lab(alice="{count: §1001}"), "nodes.alice.count", "at most 1000"),
    "a long device name": (
        lab(alice="{device: §aaaaaaaaaaaaaaaa}"),
        "nodes.alice.device",
        "at most 15 characters",
    ),
    "a device name with a slash": (lab(alice="{device: §a/b}"), "nodes.alice.device", "made of letters"),
    "not an address": (lab(alice="{address: §10.0.0}"), "nodes.alice.address", "should be an IP address"),
    "an address with a length": (
        lab(alice="{address: §10.0.0.2/24}"),
        "nodes.alice.address",
        "write 10.0.0.2",
    ),
    "a zone": (lab(alice="{address: §'fe80::1%eth0'}"), "nodes.alice.address", "without a zone"),
    "not a subnet": (lab(network="{subnet: §10.0.0.0/33}"), "network.subnet", "should be a subnet"),
    "an address for a subnet": (lab(network="{subnet: §10.0.0.0}"), "network.subnet", "is the address"),
    "a netmask": (lab(network="{subnet: §10.0.0.0/255.255.255.0}"), "network.subnet", "write 10.0.0.0/24"),
    "host bits": (lab(network="{subnet: §10.0.0.1/24}"), "network.subnet", "write 10.0.0.0/24"),
    "multicast": (lab(network="{subnet: §239.0.0.0/24}"), "network.subnet", "multicast"),
    "loopback": (lab(alice="{routes: [172.16.0.0/24, §127.0.0.0/8]}"), "nodes.alice.routes[1]", "loopback"),
    "an endpoint without a port": (
        lab(alice="{endpoint: §example.net}"),
        "nodes.alice.endpoint",
        "HOST:PORT",
    ),
    "an endpoint with port 0": (
        lab(alice="{endpoint: §'a.b:0'}"),
        "nodes.alice.endpoint",
        "port from 1 to 65535",
    ),
    "an endpoint without brackets": (
        lab(alice="{endpoint: §'fd00::1:80'}"),
        "nodes.alice.endpoint",
        "in brackets",
    ),
    "an endpoint's bad address": (
        lab(alice="{endpoint: §'300.1.1.1:80'}"),
        "nodes.alice.endpoint",
        "IPv4 address",
    ),
    "an endpoint's bad name": (lab(alice="{endpoint: §'a b:80'}"), "nodes.alice.endpoint", "host name"),
    "a short key": (lab(alice="{public_key: §abc=}"), "nodes.alice.public_key", "is not a key"),
    "a key that is not canonical": (
        lab(alice="{public_key: §" + KEY[:-2] + "h=}"),
        "nodes.alice.public_key",
        "key",
    ),
    "a secret in clear": (lab(network="{subnet: 10.0.0.0/24, psk: §hunter2}"), "network.psk", "{file: PATH}"),
    "a private key in clear": (
        lab(alice="{private_key: §" + KEY + "}"),
        "nodes.alice.private_key",
        "{env: NAME}",
    ),
    "two sources": (
        lab(network="{subnet: 10.0.0.0/24, §psk: {env: A, file: b}}"),
        "network.psk",
        "exactly one of file, env and command, has env and file",
    ),
    "no source": (lab(network="{subnet: 10.0.0.0/24, §psk: {}}"), "network.psk", "has none"),
    "a variable's bad name": (
        lab(network="{subnet: 10.0.0.0/24, psk: {env: §1A}}"),
        "network.psk.env",
        "beginning with a letter or '_'",
    ),
    # links
    "a delay without a unit": (
        lab(home="{hosts: [alice], link: {delay: §20}}"),
        "lab.sites.home.link.delay",
        "should be a duration, is the number 20 (such as 20ms",
    ),
    "a delay in minutes": (
        lab(home="{hosts: [alice], link: {delay: §1min}}"),
        "lab.sites.home.link.delay",
        "should be a duration, is '1min'",
    ),
    "a negative delay": (
        lab(home="{hosts: [alice], link: {delay: §-1ms}}"),
        "lab.sites.home.link.delay",
        "should be a duration",
    ),
    "a share for a delay": (
        lab(home="{hosts: [alice], link: {delay: §5%}}"),
        "lab.sites.home.link.delay",
        "should be a duration",
    ),
    "a delay of half a microsecond": (
        lab(home="{hosts: [alice], link: {delay: §0.5us}}"),
        "lab.sites.home.link.delay",
        "multiple of a microsecond",
    ),
    "a long delay": (
        lab(home="{hosts: [alice], link: {delay: §10001ms}}"),
        "lab.sites.home.link.delay",
        "should be at most 10s, is 10001ms",
    ),
    "a loss without its sign": (
        lab(home="{hosts: [alice], link: {loss: §0.5}}"),
        "lab.sites.home.link.loss",
        "should be from 0% to 100%, is the number 0.5 (such as 0.5%)",
    ),
    "more than all lost": (
        lab(home="{hosts: [alice], link: {loss: §100.1%}}"),
        "lab.sites.home.link.loss",
        "from 0% to 100%",
    ),
    "a negative seed": (
        lab(home="{hosts: [alice], link: {seed: §-1}}"),
        "lab.sites.home.link.seed",
        "at least 0",
    ),
    "a misspelt condition": (
        lab(home="{hosts: [alice], link: {§dealy: 1ms}}"),
        "lab.sites.home.link.dealy",
        "did you mean 'delay'?",
    ),
}


@pytest.mark.parametrize(("marked", "key", "fragment"), CASES.values(), ids=CASES)
def test_a_malformed_file_gets_one_message_at_the_exact_place(marked: str, key: str, fragment: str) -> None:
    check_the_only_problem(marked, key, fragment)


def test_all_problems_of_a_file_are_reported_at_once_in_its_order() -> None:
    error = problems_of(
        lab(
            name="name: a.b",
            network="{subnet: 10.0.0.0/24, mtu: abc}",
            hub="{role: server, adress: 10.0.0.1}",
            alice="{address: 10.1.0.1}",
            home="{nat: cone, hosts: [alice, alcie]}",
        )
    )
    keys = [problem.key for problem in error.problems]
    assert keys == [
        "name",
        "network.mtu",
        "nodes.hub.adress",
        "nodes.alice.address",
        "lab.sites.home.nat",
        "lab.sites.home.hosts[1]",
    ]
    assert error.problem == "6 problems"
    assert error.exit_status == 3


@pytest.mark.parametrize(
    "text",
    [
        lab(hub="{rol: server}"),
        lab(hub="{role: serve}"),
        lab(hub="server"),
        lab(defaults="{node: {role: x}}", hub="{}"),
        lab(network="{subnet: nonsense}", alice="{address: 10.9.9.9, routes: 10.9.0.0/16}"),
        lab(internet="nonsense", home="{nat: symmetric, wan: 198.51.100.7, hosts: [alice]}"),
        lab(home="{nat: symmetric, hosts: alice}"),
        lab(home="[alice]"),
        lab(alice="{count: many}", home="{nat: symmetric, hosts: [alice-07]}"),
        lab(alice="{count: 2}", home="{count: many, hosts: [alice]}"),
        lab(network="{subnet: 10.0.0.0/24, psk: {env: 1A}}"),
        lab(network="{subnet: 10.0.0.0/24, psk: !!binary abcd}"),
        lab(home="{hosts: [alice, !odd x]}"),
        real(hub="{role: server, endpoint: nonsense, public_key: " + KEY + "}"),
        real() + "lab: {}\n",
    ],
)
def test_one_mistake_causes_no_second_message(text: str) -> None:
    error = problems_of(text)
    assert len(error.problems) == 1, str(error)


def test_the_line_and_a_caret_are_shown_below_the_message() -> None:
    error = problems_of(lab(alice="{listen: 99999}"))
    head, line, caret = str(error).splitlines()
    assert head == "t.yaml:6:19: nodes.alice.listen: should be at most 65535, is 99999"
    assert line == "      alice: {listen: 99999}"
    assert line[caret.index("^") :].startswith("99999")


def test_a_long_line_is_cut_around_the_caret() -> None:
    error = problems_of(lab(alice="{address: 10.0.0.9, routes: [" + "172.16.0.0/24, " * 40 + "nonsense]}"))
    line, caret = error.problems[-1].excerpt.splitlines()
    assert len(line) < 200
    assert line[caret.index("^") :].startswith("nonsense")


@pytest.mark.parametrize(
    "text",
    [
        lab(network="{subnet: 10.0.0.0/24, psk: hunter2, zoo: 1}"),
        lab(network="{subnet: nonsense, psk: hunter2}"),
        lab(network="\n  subnet: 10.0.0.0/24\n  psk:\n    hunter2\n"),
        lab(network="\n  subnet: 10.0.0.0/24\n  psk: |\n    hunter2\n    hunter2\n"),
        lab(network="{subnet: 10.0.0.0/24, psk: {key: hunter2}}"),
        lab(network="{subnet: 10.0.0.0/24, psk: [hunter2]}"),
        lab(alice="{private_key: 'hunter2', zoo: 1}"),
        lab(alice="{private_key: hunter2, nonsense"),
        "psk: hunter2: hunter2\n",
    ],
)
def test_a_secret_written_into_the_file_is_never_shown(text: str) -> None:
    error = problems_of(text)
    assert "hunter2" not in str(error)
    assert "hunter2" not in repr(error.problems)


@pytest.mark.parametrize(
    "place", ["nodes: {hub: {zoo: %s}}", "name: %s", "%s: 1", "- %s", "nodes: {a: {listen: %s}}"]
)
def test_what_looks_like_a_key_is_never_shown_wherever_it_stands(place: str) -> None:
    error = problems_of(place % KEY + "\n")
    assert KEY[:12] not in "".join(problem.message + problem.excerpt for problem in error.problems)


def test_aliases_that_stand_for_billions_of_values_are_refused_at_once() -> None:
    text = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)
    )
    assert "fewer aliases" in str(problems_of(text))


def test_merges_that_stand_for_billions_of_values_are_refused_at_once() -> None:
    text = "a0: &a0 {k: x}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 20)
    )
    assert problems_of(text).problems


@pytest.mark.parametrize("text", ["a: &a\n  b: *a\n", "&a [*a]\n", "a: &a {<<: *a}\n"])
def test_an_alias_of_what_holds_it_is_refused(text: str) -> None:
    assert problems_of(text).problems


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
def test_deep_nesting_is_refused_without_exhausting_the_stack(text: str) -> None:
    assert "levels deep" in str(problems_of(text))


def test_bytes_that_are_not_utf_8_are_located() -> None:
    with pytest.raises(InvalidTopologyError) as caught:
        parse_topology("name: ü\nname: ".encode() + b"\xff", file="t.yaml", folder=Path("/"))
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (2, 7)
    assert "0xff" in problem.message


def test_a_character_that_yaml_forbids_is_located() -> None:
    (problem,) = problems_of("name: t\nnetwork: \x07\n").problems
    assert (problem.line, problem.column) == (2, 10)
    assert "U+0007" in problem.message


def test_a_file_too_large_is_refused() -> None:
    assert "larger than 4 MiB" in str(problems_of("#" * (4 * 1024 * 1024 + 1)))


def test_control_characters_of_the_file_do_not_reach_the_terminal() -> None:
    error = problems_of('name: "\\e[31m\\uD800"\n"\\a\\uD800": 1\n')
    assert all(character.isprintable() or character == "\n" for character in str(error))
    str(error).encode()
