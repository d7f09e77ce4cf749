"""What the documents name exists: tests, mutants, commands, options, statuses, reasons, files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from ltk import __version__, errors
from ltk.cli.main import VERBS, cli
from ltk.protocol.drops import Drop
from ltk.testing import mutants
from ltk.topology.load import load_topology

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PROMISES = (ROOT / "docs" / "promises.md").read_text()
COMMANDS = (ROOT / "docs" / "cli.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


def names_of_all_tests() -> set[str]:
    """The names of all test functions of the project."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("test_*.py")]
    return {
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def rows_of_promises() -> list[list[str]]:
    """The cells of each row: promise, tests, mutants."""
    lines = [line for line in PROMISES.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row != ["promise", "test", "mutant"]]


def quoted(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def test_every_promise_names_a_test_that_exists() -> None:
    rows = rows_of_promises()
    assert len(rows) > 40
    known = names_of_all_tests()
    for promise, proofs, _ in rows:
        assert quoted(proofs), f"no test holds this: {promise}"
        assert quoted(proofs) <= known, promise


def test_every_mutant_stands_beside_its_promise() -> None:
    assert set().union(*(quoted(row[2]) for row in rows_of_promises())) == set(mutants.names())


def test_every_command_and_option_is_described() -> None:
    context = click.Context(cli)
    for verb in VERBS:
        described = next((line for line in COMMANDS.splitlines() if line.startswith(f"| `ltk {verb}")), None)
        assert described is not None, verb
        command = cli.get_command(context, verb)
        assert command is not None
        own = {
            name
            for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.hidden
            for name in parameter.opts
            if name.startswith("--") and name != "--output"
        }
        assert own == set(re.findall(r"--[a-z0-9-]+", described)), verb


def test_every_exit_status_is_described() -> None:
    described = {int(status) for status in re.findall(r"^\| (\d+) \|", COMMANDS, re.MULTILINE)}
    reserved = {int(status) for status in re.findall(r"(\d+) is reserved", COMMANDS)}
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    used = {each.exit_status for each in classes if issubclass(each, errors.LtkError)}
    assert used <= described | reserved
    assert not described & reserved


def test_every_refusal_is_described() -> None:
    described = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PROTOCOL, re.MULTILINE))
    assert described == {reason.value for reason in Drop}


def test_the_topologies_of_the_readme_are_valid(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert examples
    for example in examples:
        path = tmp_path / "example.yaml"
        path.write_text(example)
        assert load_topology(str(path)) == load_topology(str(ROOT / "topologies" / "quickstart.yaml"))


def test_the_changes_of_this_version_are_told() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, target
