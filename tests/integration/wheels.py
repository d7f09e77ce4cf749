"""A wheel of ltk as it stands in the repository, made without a build backend, which a network would bring.

https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from zipfile import ZipFile

from harness import REPOSITORY

PATTERNS = ("*.py", "*.yaml", "py.typed")


def make_wheel(folder: Path) -> Path:
    """Write the wheel into `folder`; what it depends on is not said in it."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    about = f"{name}-{version}.dist-info"
    scripts = "\n".join(f"{each} = {place}" for each, place in project["scripts"].items())
    texts = {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": f"[console_scripts]\n{scripts}\n",
    }
    sources = [path for pattern in PATTERNS for path in (REPOSITORY / name).rglob(pattern)]
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        for path in sources:
            archive.write(path, path.relative_to(REPOSITORY))
        for place, text in texts.items():
            archive.writestr(place, text)
        listed = [*archive.namelist(), f"{about}/RECORD"]
        archive.writestr(f"{about}/RECORD", "".join(f"{place},,\n" for place in listed))
    return wheel
