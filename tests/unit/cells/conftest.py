"""What the matrix of NATs expects stands beside the tests that run it, in their folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "integration"))
