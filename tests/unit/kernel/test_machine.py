"""What ltk asks of the machine itself: folders, settings, processes, and what it cannot do without."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ltk.errors import MissingError
from ltk.kernel import netns, nft, paths, probe, processes, sysctl, tuntap


def test_folders_let_nobody_but_their_owner_in(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    paths.make_private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    paths.make_private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_setting_is_named_as_sysctl_names_it() -> None:
    assert sysctl.path("net.ipv4.ip_forward") == Path("/proc/sys/net/ipv4/ip_forward")
    assert sysctl.read("kernel.ostype") == "Linux"


def test_a_setting_that_the_kernel_does_not_have_is_none_and_cannot_be_set() -> None:
    before = sysctl.writes
    assert sysctl.read("net.ipv4.no_such_setting") is None
    with pytest.raises(MissingError, match=r"setting net.ipv4.no_such_setting = 1: this kernel"):
        sysctl.write("net.ipv4.no_such_setting", "1")
    assert sysctl.writes == before


def test_a_file_that_holds_no_namespace_is_debris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "FOLDER", tmp_path)
    (tmp_path / "ltk-t-alice").touch()
    (tmp_path / "other").touch()
    assert netns.names() == []
    assert not netns.is_namespace("ltk-t-alice")
    assert not netns.is_namespace("nothing")
    assert netns.debris("ltk-t-") == ["ltk-t-alice"]
    assert netns.processes("nothing") == []


def test_a_machine_that_never_had_a_namespace_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netns, "FOLDER", tmp_path / "missing")
    assert netns.names() == []
    assert netns.debris("ltk-") == []


STUBBORN = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
)
OBEDIENT = "import signal, sys; print(flush=True); signal.pause()"


@pytest.mark.parametrize(
    ("program", "ended_by"), [(OBEDIENT, signal.SIGTERM), (STUBBORN, signal.SIGKILL)], ids=["asked", "killed"]
)
def test_processes_are_asked_to_end_and_then_made_to(
    program: str, ended_by: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ended_by is signal.SIGKILL:
        monkeypatch.setattr(processes, "TERM_PATIENCE", 0.1)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()  # it has come to where it waits
        processes.end([child.pid])
    assert child.returncode == -ended_by


def test_a_process_that_has_gone_is_no_trouble() -> None:
    with subprocess.Popen(["true"]) as child:
        pass
    processes.end([child.pid])


def be_root(monkeypatch: pytest.MonkeyPatch, capabilities: int = -1) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(probe, "_effective_capabilities", lambda: capabilities)


def test_own_capabilities_are_read_from_the_kernel() -> None:
    assert 0 <= probe._effective_capabilities() < 1 << 64


@pytest.mark.parametrize(("capabilities", "name"), [(1 << 21, "CAP_NET_ADMIN"), (1 << 12, "CAP_SYS_ADMIN")])
def test_a_root_that_may_not_do_what_is_needed_is_told(
    capabilities: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_root(monkeypatch, capabilities)
    with pytest.raises(MissingError, match=f"root has no {name} here"):
        probe.require()


def test_without_root_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingError, match="user 1000 may not") as caught:
        probe.require()
    assert caught.value.hint
    assert caught.value.exit_status == 6


def test_a_missing_nft_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    be_root(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(MissingError, match="nft") as caught:
        probe.require()
    assert "nftables" in str(caught.value.hint)
    with pytest.raises(MissingError):
        nft.program()


def test_a_missing_tun_is_told_with_what_the_kernel_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be_root(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/sbin/nft")
    monkeypatch.setattr(tuntap, "CLONE_DEVICE", str(tmp_path / "tun"))
    with pytest.raises(MissingError, match=r"tun: No such file") as caught:
        probe.require()
    assert "CONFIG_TUN" in str(caught.value.hint)


def test_what_is_missing_is_found_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(tuntap, "CLONE_DEVICE", str(tmp_path / "tun"))
    found = {each.what: each for each in probe.findings()}
    assert not found["root"].present
    assert not found["tun"].present
    assert found["python"].present
    assert all(each.remedy or each.present for each in found.values())
