"""What Ansible is given: an inventory that follows from the topology, and a role that needs nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ltk.cli.main import run
from ltk.errors import InvalidInputError
from ltk.fleet.ansible import INVENTORY, PLAYBOOK, TOPOLOGY, folder_of
from ltk.fleet.recap import Recap, recap_of
from ltk.topology.load import parse_topology

KEYS = ("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=")
THIRD = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="
FILE = f"""
name: office
network: {{subnet: 10.0.0.0/24}}
nodes:
  hub: {{role: server, endpoint: 'hub.example.net:9000', public_key: {KEYS[0]}}}
  alice: {{ssh: 'root@[2001:db8::7]:2222', public_key: {KEYS[1]}}}
  on: {{public_key: {THIRD}}}
  phone: {{role: wireguard, public_key: 'gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA='}}
"""
ROOT = Path(__file__).parents[3]
RECAP = """
PLAY RECAP *****
\x1b[0;33malice\x1b[0m   : \x1b[0;32mok=6 \x1b[0m \x1b[0;33mchanged=3 \x1b[0m unreachable=0 failed=0 skipped=2
bob     : ok=0    changed=0    unreachable=1    failed=0    skipped=0    rescued=0    ignored=0
hub     : ok=6    changed=0    unreachable=0    failed=1    skipped=2    rescued=0    ignored=0
"""
ANSIBLE = shutil.which("ansible-playbook")


def files() -> dict[str, bytes]:
    return folder_of(parse_topology(FILE.encode(), file="office.yaml", folder=Path("/")), FILE.encode())


def test_each_machine_of_ltks_is_in_the_inventory_where_ssh_finds_it() -> None:
    hosts = yaml.safe_load(files()[INVENTORY])["ltk"]["hosts"]
    assert hosts == {
        "hub": {"ansible_host": "hub.example.net"},
        "alice": {"ansible_host": "2001:db8::7", "ansible_user": "root", "ansible_port": 2222},
        "on": {},  # by its name; which YAML would take for a truth value, were it not quoted
    }


def test_an_address_of_a_lab_is_no_place_of_a_machine() -> None:
    text = (
        (FILE + "lab: {sites: {cloud: {hosts: [hub, alice, on]}}}\n").replace("  phone", "#  phone").encode()
    )
    hosts = yaml.safe_load(folder_of(parse_topology(text, file="o", folder=Path("/")), text)[INVENTORY])[
        "ltk"
    ]
    assert hosts["hosts"]["hub"] == {}
    assert hosts["hosts"]["alice"]["ansible_host"] == "2001:db8::7"


def test_the_topology_goes_there_byte_by_byte() -> None:
    assert files()[TOPOLOGY] == FILE.encode()


def test_the_role_uses_nothing_that_ansible_does_not_come_with() -> None:
    made = files()
    used = set()
    for name, content in made.items():
        if name != TOPOLOGY:
            yaml.safe_load(content)
        used |= set(re.findall(r"^ +([a-z_]+\.[a-z_]+\.[a-z_]+):", content.decode(), re.MULTILINE))
    assert used
    assert {module.rpartition(".")[0] for module in used} == {"ansible.builtin"}


def test_each_machine_becomes_the_node_of_its_name() -> None:
    made = files()
    (play,) = yaml.safe_load(made[PLAYBOOK])
    assert play["hosts"] == "ltk"
    assert play["vars"] == {"ltk_topology": "office"}
    words = yaml.safe_load(made["roles/ltk/tasks/apply.yaml"])[0]["ansible.builtin.command"]["argv"]
    assert words[1:5] == [
        "apply",
        "{{ ltk_configuration }}/{{ ltk_topology }}.yaml",
        "--node",
        "{{ ltk_node }}",
    ]
    assert yaml.safe_load(made["roles/ltk/defaults/main.yaml"])["ltk_node"] == "{{ inventory_hostname }}"


def test_all_but_the_look_at_who_this_is_is_done_as_root() -> None:
    look, rest = yaml.safe_load(files()["roles/ltk/tasks/main.yaml"])
    assert look["become"] is False
    assert look["register"] == "ltk_user"
    assert rest["become"] == "{{ ltk_user.stdout | trim != '0' }}"


def test_the_package_has_all_of_the_role() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "ltk"
    ]
    packed = {path for pattern in patterns for path in (ROOT / "ltk").glob(pattern)}
    assert {path for path in (ROOT / "ltk" / "fleet" / "role").rglob("*") if path.is_file()} <= packed


def test_a_topology_without_a_machine_is_refused() -> None:
    text = b"name: t\nnodes: {a: {role: host}}\nlab: {sites: {s: {hosts: [a]}}}\n"
    with pytest.raises(InvalidInputError, match="no node of it is a machine"):
        folder_of(parse_topology(text, file="t.yaml", folder=Path("/")), text)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("'root@'", "host name or an address"),
        ("'@hub'", "no user's name"),
        ("'hub:0'", "port from 1"),
        ("'hub:99999'", "port from 1"),
        ("'[10.0.0.1]'", "IPv6"),
        ("'2001:db8::1'", "[USER@]HOST[:PORT]"),
        ("'-oProxyCommand=x'", "host name or an address"),
        ("'a b'", "host name or an address"),
        ("7", "[USER@]HOST[:PORT]"),
    ],
)
def test_what_is_no_place_for_ssh_is_refused_at_its_line(
    written: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "office.yaml"
    path.write_text(FILE.replace("'root@[2001:db8::7]:2222'", written))
    assert run(["validate", str(path)]) == 3
    told = capsys.readouterr().err
    assert "office.yaml:6:" in told
    assert words in told


def test_render_writes_a_folder_and_says_how_to_run_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("office.yaml").write_text(FILE)
    assert run(["render", "office.yaml", "-o", "ansible"]) == 0
    assert (
        "ansible-playbook -i office-ansible/inventory.yaml office-ansible/site.yaml"
        in capsys.readouterr().err
    )
    found = {str(path.relative_to("office-ansible")) for path in Path("office-ansible").rglob("*.yaml")}
    assert found == set(files())
    assert run(["render", "office.yaml", "--to", "x"]) == 3


@pytest.fixture
def ansible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of ansible-playbook, which keeps how it was called and ends with the status
    in the file `status`; the value is the folder of what it keeps."""
    program = tmp_path / "bin" / "ansible-playbook"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport json, pathlib, shutil, sys\nhere = pathlib.Path({str(tmp_path)!r})\n"
        "(here / 'called').write_text(json.dumps(sys.argv[1:]))\n"
        "shutil.copytree(pathlib.Path(sys.argv[-1]).parent, here / 'folder')\n"
        "print('it says something', (here / 'recap').read_text())\n"
        "sys.exit(int((here / 'status').read_text()))\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "status").write_text("0")
    (tmp_path / "recap").write_text("\nhub  : ok=6  changed=1  unreachable=0  failed=0\n")
    (tmp_path / "office.yaml").write_text(FILE)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(folder: Path) -> list[Any]:
    found = json.loads((folder / "called").read_text())
    assert isinstance(found, list)
    return found


def test_apply_hosts_runs_the_playbook_on_those_that_are_wanted(
    ansible: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (ansible / "ltk.whl").touch()
    given = ["apply", "office.yaml", "--hosts", "--only", "hub,alice", "--package", "ltk.whl", "-o", "json"]
    assert run(given) == 0
    words = called(ansible)
    assert words[words.index("--limit") + 1] == "hub,alice"
    assert json.loads(words[words.index("--extra-vars") + 1]) == {"ltk_package": str(ansible / "ltk.whl")}
    made = {
        str(path.relative_to(ansible / "folder")): path.read_bytes()
        for path in (ansible / "folder").rglob("*.yaml")
    }
    assert made == files()
    assert not Path(words[-1]).exists(), "the folder has stayed"
    said = capfd.readouterr()
    assert json.loads(said.out) == {
        "version": 1,
        "topology": "office",
        "hosts": ["hub", "alice"],
        "changed": ["hub"],
    }
    assert "it says something" in said.err


def test_who_failed_is_named_in_the_last_words(ansible: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ansible / "status").write_text("4")
    (ansible / "recap").write_text(RECAP)
    assert run(["apply", "office.yaml", "--hosts"]) == 1
    told = capsys.readouterr()
    assert "error: applying office to its hosts: bob could not be reached, hub failed\n" in told.err
    assert told.out == ""


def test_a_run_that_came_to_no_machine_is_told_by_its_status(
    ansible: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (ansible / "status").write_text("250")
    (ansible / "recap").write_text("ERROR! something else\n")
    assert run(["apply", "office.yaml", "--hosts"]) == 1
    assert "ansible-playbook ended with status 250" in capsys.readouterr().err


def test_a_recap_is_read_with_and_without_colours() -> None:
    told = Recap(changed=("alice",), unreachable=("bob",), failed=("hub",))
    assert recap_of(RECAP.splitlines(keepends=True)) == told
    assert str(Recap((), ("a", "b"), ("c",))) == "a and b could not be reached, c failed"
    assert str(recap_of(["no recap\n"])) == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--hosts", "--only", "phone"], "'phone' is no machine of it"),
        (["--hosts", "--package", "missing.whl"], "there is no file missing.whl"),
        (["--package", "ltk.whl"], "--package is for --hosts"),
        (["--hosts", "--confirm", "60s"], "--confirm is for this machine"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_called(
    given: list[str], words: str, ansible: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["apply", "office.yaml", *given]) == 3
    assert words in capsys.readouterr().err
    assert not (ansible / "called").exists()


def test_without_ansible_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "office.yaml").write_text(FILE)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["apply", str(tmp_path / "office.yaml"), "--hosts"]) == 6
    assert "apt-get install ansible-core" in capsys.readouterr().err


@pytest.mark.skipif(ANSIBLE is None, reason="there is no ansible-playbook to ask whether the playbook is one")
def test_ansible_takes_what_was_rendered(tmp_path: Path) -> None:
    assert ANSIBLE is not None
    for name, content in files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    words = [ANSIBLE, "--syntax-check", "-i", str(tmp_path / INVENTORY), str(tmp_path / PLAYBOOK)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
