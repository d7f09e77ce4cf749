"""The picture in docs/architecture.md, read off the code: who imports whom, and what may stand where.

`may_import` is the whole of the rules. Everything below it reads the imports out of the sources,
those inside of functions too, and compares.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ltk"
MAX_LINES = 500

# Modules and packages of ltk, by who imports them; a prefix stands for all that is below it.
ARROWS: dict[str, tuple[str, ...]] = {
    "ltk.errors": (),
    "ltk.topology": ("ltk.errors",),
    "ltk.protocol": ("ltk.errors",),
    "ltk.kernel": ("ltk.errors",),
    "ltk.node": ("ltk.errors", "ltk.protocol", "ltk.kernel"),
    "ltk.supervise": ("ltk.errors", "ltk.kernel", "ltk.node", "ltk.lab.conditions", "ltk.lab.wire"),
    "ltk.rootless": ("ltk.errors", "ltk.kernel"),
    "ltk.lab": ("ltk.errors", "ltk.topology", "ltk.reconcile.resources", "ltk.reconcile.rules"),
    # what is there already is probed; it is made by the reconciler alone
    "ltk.lab.bench": ("ltk.errors", "ltk.topology", "ltk.lab", "ltk.reconcile.resources", "ltk.kernel"),
    "ltk.capture": ("ltk.errors", "ltk.protocol.messages", "ltk.protocol.stun"),
    # with a session's keys, what its messages hold is read as the tunnel reads it
    "ltk.capture.keys": ("ltk.errors", "ltk.capture", "ltk.protocol.primitives", "ltk.protocol.session"),
    "ltk.capture.inside": ("ltk.capture", "ltk.protocol"),
    "ltk.capture.record": ("ltk.errors", "ltk.capture", "ltk.kernel"),
    "ltk.capture.recording": ("ltk.errors", "ltk.capture", "ltk.kernel.packets"),
    "ltk.fleet": ("ltk.errors", "ltk.topology"),
    "ltk.graph": ("ltk.errors", "ltk.topology"),
    "ltk.reconcile.resources": (),
    "ltk.reconcile.plan": ("ltk.errors", "ltk.reconcile.resources"),
    "ltk.reconcile.rules": ("ltk.errors", "ltk.reconcile.resources"),
    "ltk.reconcile": (
        "ltk.errors",
        "ltk.kernel",
        "ltk.lab",
        "ltk.node.config",
        "ltk.node.control",
        "ltk.node.digest",
        "ltk.node.poller",
        "ltk.protocol.config",
        "ltk.protocol.primitives",
        "ltk.protocol.segments",
        "ltk.protocol.shared_secret",
        "ltk.supervise.client",
        "ltk.supervise.systemd",
        "ltk.topology",
    ),
    "ltk.verify": (
        "ltk.errors",
        "ltk.capture",
        "ltk.kernel",
        "ltk.lab",
        "ltk.node.control",
        "ltk.reconcile.faults",
        "ltk.reconcile.kept_faults",
        "ltk.reconcile.resources",
        "ltk.topology",
    ),
    "ltk.confirm": (
        "ltk.errors",
        "ltk.kernel",
        "ltk.node.log",
        "ltk.reconcile",
        "ltk.supervise.client",
        "ltk.verify.run",
    ),
    "ltk.cli": ("ltk",),
    "ltk.__main__": ("ltk.cli.main",),
    "ltk.testing": ("ltk",),
}

# Who may import what is not in the standard library; what is missing here, nobody may.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "click": ("ltk.cli",),
    "cryptography": ("ltk.protocol.primitives",),
    "pydantic": ("ltk.topology",),
    "pydantic_core": ("ltk.topology",),
    "prometheus_client": ("ltk.node.metrics", "ltk.cli.metrics"),
    "pytest": ("ltk.testing",),
    "rich": ("ltk.cli",),
    "scapy": ("ltk.testing",),
    "yaml": ("ltk.topology", "ltk.fleet"),
}

# The protocol takes time and randomness as arguments and does no input or output.
IMPURE = {"asyncio", "logging", "os", "random", "secrets", "select", "subprocess", "threading", "time"}
PURE_PARTS_OF_SOCKET = {"AF_INET", "AF_INET6", "inet_pton"}  # an address as bytes
# Messages are laid out in one place; the ciphers have layouts of their own, of nonces and blocks.
PACKERS = {
    "ltk.protocol.frames",
    "ltk.protocol.messages",
    "ltk.protocol.primitives",
    "ltk.protocol.segments",
    "ltk.protocol.vnet",
}
# Who imports by a name that is made at run time, which no reading of imports can see.
LATE_IMPORTERS = {
    "ltk.cli.main",  # a verb's module, when the verb is asked for
    "ltk.node.daemon",  # broken variants of itself, in tests of the tests
}


@dataclass(frozen=True, slots=True)
class Import:
    """One module that a module of ltk imports, at a line."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def below(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def package_of(module: str) -> str:
    """ltk.node for ltk.node.loop: its modules may always import each other."""
    return ".".join(module.split(".")[:2])


def may_import(found: Import) -> bool:
    """Whether the architecture has this arrow."""
    importer, imported = found.importer, found.imported
    library = imported.partition(".")[0]
    if library == "ltk":
        # the most specific rule counts; only it may forbid what its own package has
        rule = max((prefix for prefix in ARROWS if below(importer, prefix)), key=len, default=None)
        if rule is None:
            return imported == "ltk"
        siblings = rule.count(".") == 1 and below(imported, package_of(importer))
        return imported == "ltk" or siblings or any(below(imported, each) for each in ARROWS[rule])
    if below(importer, "ltk.protocol"):
        if library in IMPURE:
            return False
        if library == "struct":
            return importer in PACKERS
        if library == "socket":
            return importer == "ltk.protocol.messages"
    if library in sys.stdlib_module_names:
        return True
    return any(below(importer, each) for each in LIBRARIES.get(library, ()))


def imports_of(importer: str, tree: ast.AST, modules: set[str]) -> Iterator[Import]:
    """Every import in a module, wherever it stands. `modules` are those of ltk, by which
    `from package import name` is told from `from module import name`."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(importer, alias.name, node.lineno)
            case ast.ImportFrom(module=str() as module, names=names, level=0):
                for alias in names:
                    full = f"{module}.{alias.name}"
                    yield Import(importer, full if full in modules else module, node.lineno)
            case ast.ImportFrom():
                yield Import(importer, "a relative name", node.lineno)


def sources() -> dict[str, Path]:
    """Module name -> file, of everything in ltk."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


SOURCES = sources()
TREES = {module: ast.parse(path.read_text(), str(path)) for module, path in SOURCES.items()}
IMPORTS = [each for module, tree in TREES.items() for each in imports_of(module, tree, set(SOURCES))]


def test_every_import_is_an_arrow_of_the_architecture() -> None:
    assert len(IMPORTS) > 300, "the sources were found"
    assert [str(each) for each in IMPORTS if not may_import(each)] == []


@pytest.mark.parametrize(
    ("importer", "statement"),
    [
        ("ltk.errors", "from ltk.kernel import paths"),
        ("ltk.topology.load", "from ltk.reconcile.resources import State"),
        ("ltk.protocol.peer", "from ltk.node.tun import Tun"),
        ("ltk.protocol.peer", "import time"),
        ("ltk.protocol.peer", "from os import urandom"),
        ("ltk.protocol.peer", "import socket"),
        ("ltk.protocol.peer", "import logging"),
        ("ltk.protocol.noise", "import struct"),
        ("ltk.protocol.noise", "from cryptography.hazmat.primitives import hashes"),
        ("ltk.node.loop", "from ltk.reconcile import plan"),
        ("ltk.node.loop", "from ltk.testing import mutants"),
        ("ltk.node.loop", "import pyroute2"),
        ("ltk.supervise.client", "import click"),
        ("ltk.kernel.netns", "from ltk.topology.expanded import Lab"),
        ("ltk.kernel.netns", "import yaml"),
        ("ltk.lab.sites", "from ltk.kernel import netns"),
        ("ltk.lab.sites", "from ltk.reconcile.observe import observe"),
        ("ltk.reconcile.plan", "from ltk.kernel import netns"),
        ("ltk.reconcile.plan", "from ltk.reconcile import observe"),
        ("ltk.reconcile.resources", "from ltk.reconcile.plan import Operation"),
        ("ltk.reconcile.apply", "from ltk.node.loop import Loop"),
        ("ltk.reconcile.apply", "from ltk.cli.common import say"),
        ("ltk.kernel.netlink", "import scapy.all"),
        ("ltk.kernel.netlink", "import pyroute2"),
        ("ltk.cli.status", "import requests"),
        ("ltk.cli.status", "from . import common"),
        ("ltk.cli.status", "def late():\n    import scapy"),
    ],
)
def test_an_import_against_the_arrows_is_found(importer: str, statement: str) -> None:
    found = list(imports_of(importer, ast.parse(statement), set(SOURCES)))
    assert found
    assert not any(may_import(each) for each in found)


def test_the_protocol_uses_sockets_for_addresses_alone() -> None:
    used = {
        node.attr
        for module, tree in TREES.items()
        if below(module, "ltk.protocol")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "socket"
    }
    assert used <= PURE_PARTS_OF_SOCKET


def test_only_two_modules_import_by_a_name_made_at_run_time() -> None:
    late = {
        module
        for module, tree in TREES.items()
        if uses_of(tree, "importlib", "import_module") or "__import__" in SOURCES[module].read_text()
    }
    assert late == LATE_IMPORTERS


@pytest.mark.parametrize("package", sorted({package_of(module) for module in SOURCES} - {"ltk"}))
def test_every_package_has_its_rule(package: str) -> None:
    assert any(below(rule, package) for rule in ARROWS)


def test_a_file_has_one_subject_and_under_500_lines() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in SOURCES.items()}
    assert {module: length for module, length in lengths.items() if length >= MAX_LINES} == {}


def uses_of(tree: ast.AST, owner: str, name: str) -> list[int]:
    """Lines that use `owner.name`, or import `name` from `owner`."""
    lines = []
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=found), attr=attribute) if (found, attribute) == (
                owner,
                name,
            ):
                lines.append(node.lineno)
            case ast.ImportFrom(module=module, names=names) if module == owner:
                lines += [node.lineno for alias in names if alias.name == name]
    return lines


def test_no_sleep_stands_for_synchronisation() -> None:
    assert {
        module: lines for module, tree in TREES.items() if (lines := uses_of(tree, "time", "sleep"))
    } == {}


@pytest.mark.parametrize("text", ["import time\ntime.sleep(1)", "from time import sleep"])
def test_a_sleep_is_found(text: str) -> None:
    assert uses_of(ast.parse(text), "time", "sleep")


def test_the_command_line_answers_before_anything_heavy_is_imported() -> None:
    heavy = {"cryptography", "pydantic", "rich", "yaml"}
    program = "import sys, ltk.cli.main; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "click" in loaded, "the list is that of the modules"
    assert loaded & heavy == set()


@pytest.mark.parametrize("verb", ["apply", "status", "plan", "exec", "fault", "ping", "why"])
def test_a_verb_on_what_is_up_needs_no_parser_and_no_model(verb: str) -> None:
    """All that such a verb imports, unless it has to read a text that nobody has applied."""
    program = (
        f"import sys, ltk.cli.{verb}, ltk.reconcile.faults, ltk.reconcile.remembered, ltk.kernel.icmp;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "cryptography" in loaded, "the list is that of the modules"
    assert loaded & {"pydantic", "rich", "yaml"} == set()


def test_daemons_and_their_supervisor_stay_lean() -> None:
    program = (
        "import sys, ltk.node.daemon, ltk.node.prepare, ltk.supervise.supervisor;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "cryptography" in loaded, "the list is that of the modules"
    assert loaded & {"click", "pydantic", "rich", "yaml"} == set()
