"""The exit statuses that scripts rely on, each by one case; 5 has its own tests, of what is rolled back."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import pytest
from bad_topologies import FILE
from harness import Lab, run_ltk
from test_bad_input import NO_NFT
from test_reconcile import THREE

from ltk.reconcile.apply import locked


@contextmanager
def as_it_is(_: Lab) -> Iterator[None]:
    yield


@contextmanager
def a_route_removed(made: Lab) -> Iterator[None]:
    made.run("alice", "ip", "route", "del", "192.168.77.0/24")
    yield
    made.apply()


@contextmanager
def a_route_of_somebody_else(made: Lab) -> Iterator[None]:
    made.run("alice", "sh", "-c", "ip route replace 192.168.77.0/24 dev eth0")
    yield
    made.run("alice", "sh", "-c", "ip route del 192.168.77.0/24")
    made.apply()


@contextmanager
def a_fault(made: Lab) -> Iterator[None]:
    run_ltk("fault", made.name, "block", "alice")
    yield
    run_ltk("fault", made.name, "clear")


@contextmanager
def somebody_at_work(made: Lab) -> Iterator[None]:
    with locked(made.name, "applying"):
        yield


@dataclass(frozen=True, slots=True)
class Case:
    """What is run, on what, and how it has to end. FILE stands for the file, NAME for what is up."""

    status: int
    words: str
    circumstances: Callable[[Lab], AbstractContextManager[None]] = as_it_is
    program: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.status}-{self.words.replace(' ', '-')}-{self.circumstances.__name__}"


CASES = (
    Case(0, "validate FILE"),
    Case(0, "apply FILE"),
    Case(0, "plan FILE"),
    Case(0, "status NAME --exit-code"),
    Case(1, "ping NAME alice hub --timeout 0.3", a_fault),
    Case(2, "plan FILE", a_route_removed),
    Case(2, "status NAME --exit-code", a_route_removed),
    Case(2, "test NAME --no-apply", a_fault),
    Case(3, "plan nowhere.yaml"),
    Case(3, "apply FILE --only zed"),
    Case(3, "apply FILE --forse"),
    Case(3, "status nobody"),
    Case(4, "plan FILE", a_route_of_somebody_else),
    Case(4, "apply FILE", a_route_of_somebody_else),
    Case(6, "apply FILE", program=NO_NFT),
    Case(7, "apply FILE", somebody_at_work),
    Case(7, "destroy NAME", somebody_at_work),
    Case(7, "fault NAME flush-nat home", somebody_at_work),
)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab for all cases, each of which leaves it as it was."""
    checks = "checks:\n  - {reach: [alice, hub], within: 1s}\n"
    made = Lab(THREE.lstrip() + checks, tmp_path_factory.mktemp("lab") / FILE)
    made.apply()
    yield made
    made.destroy()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_scripts_are_told_how_it_ended(case: Case, up: Lab) -> None:
    words = case.words.replace("FILE", str(up.path)).replace("NAME", up.name).split()
    with case.circumstances(up):
        if case.program:
            done = subprocess.run([*case.program, *words], capture_output=True, text=True, check=False)
            assert "Traceback" not in done.stderr
        else:
            done = run_ltk(*words, status=None)
    assert done.returncode == case.status, f"{done.stdout}\n{done.stderr}"
    assert done.returncode in (0, 2) or "error:" in done.stderr.lower() or case.words.startswith("ping")
    assert up.plan() == []
