"""Each proof is run against a program that breaks its promise, and has to fail.

That the same proofs pass on the program as it is, is shown where they belong: in tests/unit and
tests/integration, which the mutants' run does not repeat.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import of_networks
import of_the_reconciler
import of_the_tunnel
import of_transports
import pytest
from proof import Proof

from ltk.testing import mutants

REPOSITORY = Path(__file__).parents[2]
PROOF_LIMIT = 180  # seconds; a proof that takes longer is ended with a report and cleans up after itself
RUN_LIMIT = 300.0  # seconds for that and for the cleaning up

PROOFS = (*of_the_tunnel.PROOFS, *of_networks.PROOFS, *of_transports.PROOFS, *of_the_reconciler.PROOFS)
BROKEN_IN_PYTEST = (
    "tests/unit",
    *of_the_tunnel.BROKEN_IN_PYTEST,
    *of_networks.BROKEN_IN_PYTEST,
    *of_the_reconciler.BROKEN_IN_PYTEST,
)


def test_every_mutant_has_a_proof() -> None:
    assert {proof.mutant for proof in PROOFS} == set(mutants.names())


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: f"{proof.mutant}-{proof.where}")
def test_the_proof_fails_on_the_mutant(proof: Proof, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    done = run(proof, report)
    printed = f"{proof.test} on {proof.mutant}, status {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, f"not caught by {printed}"
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    counted = {what: int(suite.attrib[what]) for what in ("tests", "failures", "errors", "skipped")}
    assert counted == {"tests": 1, "failures": 1, "errors": 0, "skipped": 0}, printed
    (failure,) = suite.iter("failure")
    assert failure.attrib["message"].startswith(("AssertionError", "assert ")), f"not an assertion: {printed}"
    failed = failed_assertion(failure)
    assert any(reason in failed for reason in proof.reasons), f"caught for another reason: {printed}"


def test_a_mutant_of_something_else_fails_no_proof(tmp_path: Path) -> None:
    """What makes the proofs fail is the mutant, and not the way in which they are run here."""
    proof = next(proof for proof in PROOFS if proof.mutant == "session-no-replay-window")
    done = run(replace(proof, mutant="noise-preshared-key-ignored"), tmp_path / "report.xml")
    assert done.returncode == pytest.ExitCode.OK, f"{done.stdout}\n{done.stderr}"


def failed_assertion(failure: ElementTree.Element) -> str:
    """The source line that failed and what pytest says about it, out of a report's traceback."""
    traceback = (failure.text or "").splitlines()
    return "\n".join(line for line in traceback if line.startswith((">", "E")))


def run(proof: Proof, report: Path) -> subprocess.CompletedProcess[str]:
    """Run the proof in a pytest of its own, on the mutant."""
    environment = os.environ | {"LTK_MUTANT": proof.mutant}
    environment.pop("PYTEST_ADDOPTS", None)
    options = ["-p", "no:cacheprovider", f"--timeout={PROOF_LIMIT}", f"--junit-xml={report}"]
    if proof.test.startswith(BROKEN_IN_PYTEST):
        beside = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent), beside)))
        options += ["-p", "break_the_product"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, proof.test],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT,
        check=False,
    )
