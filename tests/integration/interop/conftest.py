"""What every test against wireguard-go needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from underlay import Underlay, underlay

PROGRAMS = {"wireguard-go": "wireguard-go", "wg": "wireguard-tools", "tcpdump": "tcpdump", "iperf3": "iperf3"}


@pytest.fixture(scope="session", autouse=True)
def _programs_are_installed() -> None:
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    assert not missing, f"nothing is proven without these: apt-get install {' '.join(missing)}"


@pytest.fixture
def net() -> Iterator[Underlay]:
    """An underlay made by hand, without hosts yet."""
    with underlay() as made:
        yield made
