"""A plugin for proofs that run the product in pytest's own process: it installs the mutant there.

Where daemons run the product, they do that themselves.
"""

from __future__ import annotations

import os

import pytest

from ltk.testing import mutants


@pytest.fixture(scope="session", autouse=True)
def _broken() -> None:
    mutants.install(os.environ["LTK_MUTANT"])
