"""What holds for every verb: its help, its flags, how it fails, and what it leaves to programs."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from commandline import YAML, Ltk

from ltk.cli import main
from ltk.cli.main import VERBS, cli
from ltk.cli.times import seconds_of
from ltk.errors import (
    BusyError,
    InTheWayError,
    InvalidInputError,
    LtkError,
    MissingError,
    RolledBackError,
)
from ltk.kernel import paths


def command_of(verb: str) -> click.Command:
    found = cli.get_command(click.Context(cli), verb)
    assert found is not None
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str, ltk: Ltk) -> None:
    said = ltk(verb, "--help")
    assert said.status == 0
    assert said.out.startswith(f"Usage: ltk {verb}")
    assert f"Example:  ltk {verb}" in said.out


def test_the_help_lists_every_verb_with_what_it_does(ltk: Ltk) -> None:
    said = ltk("--help")
    assert said.status == 0
    for verb, purpose in VERBS.items():
        assert f"  {verb} " in said.out
        assert purpose in said.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_has_its_environment_variable(verb: str) -> None:
    for parameter in command_of(verb).params:
        if isinstance(parameter, click.Option):
            flag = max(parameter.opts, key=len).removeprefix("--").replace("-", "_").upper()
            assert parameter.envvar == f"LTK_{flag}"


def test_a_flag_can_come_from_the_environment(ltk: Ltk, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTK_OUTPUT", "json")
    assert ltk("validate", file).data["valid"] is True
    monkeypatch.setenv("LTK_ONLY", "nobody")
    assert "nobody" in ltk("apply", file).err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bogus"], ["bogus", "ltk --help"]),
        (["aply"], ["aply", "Did you mean 'apply'?", "ltk --help"]),
        (["apply"], ["TOPOLOGY", "ltk apply --help"]),
        (["apply", "x", "--bogus"], ["--bogus", "ltk apply --help"]),
        (["apply", "x", "y"], ["y", "ltk apply --help"]),
        (["apply", "x", "-o", "xml"], ["xml", "text", "json"]),
        (["ping", "x", "--timeout", "soon"], ["soon"]),
        (["ping", "x", "--timeout", "0"], ["0.1"]),
        (["exec", "x", "alice"], ["CMD"]),
        (["--bogus"], ["--bogus", "ltk --help"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_arguments_are_told_and_have_their_status(
    arguments: list[str], words: list[str], ltk: Ltk
) -> None:
    said = ltk(*arguments)
    assert said.status == 3
    assert said.out == ""
    assert all(word in said.err for word in words), said.err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LtkError("doing", "problem", hint="what to do"), 1),
        (InvalidInputError("doing", "problem", hint="what to do"), 3),
        (InTheWayError("doing", "problem", hint="what to do"), 4),
        (RolledBackError("doing", "problem", hint="what to do"), 5),
        (MissingError("doing", "problem", hint="what to do"), 6),
        (BusyError("doing", "problem", hint="what to do"), 7),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, LtkError) else None,
)
def test_an_error_becomes_words_and_its_status(
    error: LtkError, status: int, ltk: Ltk, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("ltk.reconcile.apply.foresee", fail)
    said = ltk("plan", file, "-o", "json")
    assert said.status == status
    assert said.out == ""
    assert said.err == "error: doing: problem\n  what to do\n"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (PermissionError(13, "Permission denied", "/run/ltk/t"), 6, ["/run/ltk/t", "root"]),
        (
            OSError(28, "No space left on device", "/run/ltk/t"),
            1,
            ["error: using /run/ltk/t: No space left on device\n", "make room"],
        ),
        (OSError(30, "Read-only file system"), 1, ["error: reading or writing: Read-only", "writable"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
    ],
    ids=["permission", "no space", "read-only", "Ctrl-C"],
)
def test_the_machines_own_errors_become_words_too(
    error: BaseException,
    status: int,
    words: list[str],
    ltk: Ltk,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("ltk.reconcile.apply.foresee", fail)
    said = ltk("plan", file)
    assert said.status == status
    assert said.out == ""
    assert all(word in said.err for word in words), said.err


@pytest.mark.parametrize(("verb", "goes_on"), [("apply", True), ("plan", False)])
def test_who_interrupts_a_verb_is_told_to_go_on_where_something_was_done(
    verb: str, goes_on: bool, ltk: Ltk, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"ltk.reconcile.apply.{'converge' if verb == 'apply' else 'foresee'}", interrupt)
    said = ltk(verb, file)
    assert said.status == 130
    assert "interrupted" in said.err
    assert ("goes on from here" in said.err) is goes_on


def test_an_interruption_before_anything_is_imported_has_its_status_and_no_traceback() -> None:
    interrupted = """
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from ltk.__main__ import main
main()
"""
    ran = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


@pytest.mark.parametrize("verb", VERBS)
def test_yes_is_accepted_everywhere(verb: str) -> None:
    assert [each for each in command_of(verb).params if "--yes" in each.opts]


@pytest.mark.parametrize("verb", ["apply", "validate", "status"])
def test_a_file_that_is_not_there_is_told_whatever_the_verb(verb: str, ltk: Ltk) -> None:
    said = ltk(verb, "lost.yaml")
    assert said.status == 3
    assert said.err == (
        "error: reading lost.yaml: there is no such file\n  A topology is a YAML file; - is standard input.\n"
    )


def test_a_topology_can_come_from_standard_input(ltk: Ltk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(YAML.encode())))
    assert ltk("render", "-", "-o", "json").data["topology"]["name"] == "small"


def test_a_word_that_is_nothing_is_told_with_what_is_up(ltk: Ltk) -> None:
    put_up("office", "home")
    said = ltk("status", "hom")
    assert said.status == 3
    assert "hom: it is neither a file nor the name of a topology that is up" in said.err
    assert "home, office" in said.err


def test_topologies_that_are_up_are_completed_by_name(ltk: Ltk) -> None:
    put_up("home", "home-office", "other")
    (paths.RUN / "home-never-applied").mkdir()
    assert completions(["status"], "home") == ["home", "home-office"]


def test_nodes_are_completed_by_name(ltk: Ltk) -> None:
    put_up("home")
    for node in ("alice", "anna", "bob"):
        paths.node_config("home", node).touch()
    assert completions(["exec", "home"], "a") == ["alice", "anna"]
    assert completions(["ping", "home", "bob"], "") == ["alice", "anna", "bob"]


def test_verbs_are_completed(ltk: Ltk) -> None:
    assert completions([], "p") == ["plan", "ping"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_completion(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_LTK_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit, match="0"):
        main.run([])
    assert "_LTK_COMPLETE" in capsys.readouterr().out


def put_up(*names: str) -> None:
    for name in names:
        paths.make_private_folder(paths.run_folder(name))
        paths.applied(name).touch()


def completions(before: list[str], incomplete: str) -> list[str]:
    found = ShellComplete(cli, {}, "ltk", "_LTK_COMPLETE").get_completions(before, incomplete)
    return [each.value for each in found if each.type == "plain"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("1.5s", 1.5), ("60s", 60), ("5m", 300), ("24h", 86400)]
)
def test_times_are_read_with_their_units(text: str, seconds: float) -> None:
    assert seconds_of(text, "--confirm", "trying") == seconds


@pytest.mark.parametrize(
    "text", ["", "60", "s", "0s", "0.5s", "25h", "-1s", "1e3s", "60 s", "60s\n", "١s", "auto"]
)
def test_what_is_no_time_is_refused_with_one_that_would_be(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"--confirm: .* is no time from 1s to 24h") as caught:
        seconds_of(text, "--confirm", "trying")
    assert caught.value.hint == "Such as 60s, 5m or 1h."


def test_checks_cannot_decide_where_there_are_none(ltk: Ltk, file: Path) -> None:
    said = ltk("apply", file, "--confirm", "auto")
    assert said.status == 3
    assert "--confirm auto: it has no checks" in said.err


def test_nothing_is_confirmed_where_nothing_waits(ltk: Ltk, file: Path) -> None:
    for words in ((), ("--extend", "60s")):
        said = ltk("confirm", file, *words)
        assert said.status == 3
        assert "small: nothing of it awaits a confirmation" in said.err
