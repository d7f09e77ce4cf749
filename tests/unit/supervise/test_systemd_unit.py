"""The unit says what systemd is to do, in words that systemd understands."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ltk.cli.main import cli
from ltk.supervise import systemd

PYTHON = (sys.executable, "-P", "-m", "ltk")
SPACED = '/opt/a "place"/100%/bin/python'


class Unit(configparser.RawConfigParser):
    """A unit's file, by sections and keys as they are written; no key stands twice."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def parsed(text: str) -> Unit:
    unit = Unit(delimiters=("=",))
    unit.read_string(text)
    return unit


def test_the_unit_makes_what_a_boot_took_and_then_becomes_the_daemon() -> None:
    service = parsed(systemd.text(code=()))["Service"]
    before = service["ExecStartPre"]
    assert before.startswith("-+"), "with all privileges, and another ltk at work is no obstacle"
    assert shlex.split(before[2:]) == [*PYTHON, "apply", "%i", "--no-start", "--yes"]
    assert shlex.split(service["ExecStart"]) == [*PYTHON, "node", "--needs-device", "/run/ltk/%i/here"]
    assert (service["Type"], service["Restart"]) == ("notify", "always")


def test_the_unit_gives_the_daemon_no_more_than_it_keeps() -> None:
    service = parsed(systemd.text(code=()))["Service"]
    assert service["CapabilityBoundingSet"].split() == ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"]
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["ReadOnlyPaths"] == "/run"
    assert service["DeviceAllow"] == "/dev/net/tun rw"
    assert service["ReadWritePaths"] == "-/run/ltk/%i"


def test_the_commands_of_the_unit_are_those_of_the_command_line() -> None:
    service = parsed(systemd.text(code=()))["Service"]
    for key in ("ExecStartPre", "ExecStart"):
        words = shlex.split(service[key].lstrip("-+"))
        assert words[:4] == [*PYTHON]
        verb = cli.get_command(click.Context(cli), words[4])
        assert verb is not None
        verb.make_context(words[4], words[5:])  # raises for an option that there is not


def test_a_python_in_a_strange_place_is_quoted() -> None:
    line = parsed(systemd.text(SPACED, code=()))["Service"]["ExecStart"]
    assert line.startswith('"/opt/a \\"place\\"/100%%/bin/python" -P -m ltk node')


def test_code_among_the_temporary_files_is_seen_by_the_daemon() -> None:
    code = (Path("/usr"), Path("/tmp/a b"), Path("/var/tmp/100%"), Path("/tmp/a b"))
    lines = systemd.text(code=code).splitlines()
    seen = [line for line in lines if line.startswith("BindReadOnlyPaths")]
    assert seen == ['BindReadOnlyPaths="/tmp/a b"', 'BindReadOnlyPaths="/var/tmp/100%%"']
    assert "BindReadOnlyPaths" not in systemd.text(code=code[:1])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "ltk@.service"
    path.write_text(systemd.text())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "ltk@" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr
