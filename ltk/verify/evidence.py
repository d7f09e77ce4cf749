"""What is kept of a lab in which something failed: it is about to be taken down."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ltk.errors import LtkError
from ltk.kernel import paths


def keep(topology: str, folder: Path, status: Callable[[], dict[str, Any]]) -> None:
    """Put the logs of all daemons and programs, the topology as applied and the status into `folder`.

    What cannot be had is left out: this is for looking at afterwards, and no reason to fail.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*sorted(paths.run_folder(topology).glob("*.log")), paths.applied(topology)):
        with contextlib.suppress(OSError):
            shutil.copyfile(file, folder / file.name)
    try:
        said: dict[str, Any] = status()
    except (LtkError, OSError) as error:
        said = {"problem": str(error)}
    with contextlib.suppress(OSError):
        (folder / "status.json").write_text(json.dumps(said, indent=2) + "\n")
