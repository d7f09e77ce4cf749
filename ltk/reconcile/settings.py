"""This machine's own settings: what ltk needs of them, and what they were before, so that they can be again.

The one thing that can be read nowhere else: what a setting was is kept beside the keys, over a boot too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from ltk.kernel import paths, sysctl
from ltk.reconcile.files import write_private
from ltk.reconcile.plan import Operation, Remove
from ltk.reconcile.resources import HERE, OwnSetting, Resource


def observed(topology: str, wanted: Iterable[Resource]) -> list[Resource]:
    """The settings that the topology has changed; and as if they were as wanted, those that no kernel has."""
    found: list[Resource] = []
    changed = before(topology)
    for setting in changed:
        if (value := sysctl.read(setting)) is not None:
            found.append(OwnSetting(HERE, setting, value))
    known = {each for each in wanted if isinstance(each, OwnSetting) and each.setting not in changed}
    return found + [each for each in known if sysctl.read(each.setting) is None]


def change(topology: str, operations: Sequence[Operation]) -> None:
    """Set what is wanted, remembering what it was; give back what is not wanted any more."""
    for operation in operations:
        setting = operation.resource
        assert isinstance(setting, OwnSetting)
        if isinstance(operation, Remove):
            _give_back(topology, setting.setting)
            continue
        changed = before(topology)
        now = sysctl.read(setting.setting)
        if setting.setting not in changed and now is not None:
            keep(topology, {**changed, setting.setting: {"was": now, "is": setting.value}})
        if now not in (None, setting.value):
            sysctl.write(setting.setting, setting.value)


def _give_back(topology: str, setting: str) -> None:
    """Another topology may still want it, and gives it back later; what others have set since, stays."""
    changed = dict(before(topology))
    own = changed.pop(setting, None)
    keep(topology, changed)
    if own is None:
        return
    for other in _others(topology):
        kept = dict(before(other))
        if setting in kept:
            if own["was"] != own["is"]:
                keep(other, {**kept, setting: {**kept[setting], "was": own["was"]}})
            return
    if sysctl.read(setting) == own["is"] != own["was"]:
        sysctl.write(setting, own["was"])


def _others(topology: str) -> list[str]:
    return sorted(folder.name for folder in paths.STATE.iterdir() if folder.name != topology)


def before(topology: str) -> Mapping[str, dict[str, str]]:
    """By setting, what it `was` before the topology had it be what it `is`."""
    try:
        found: dict[str, dict[str, str]] = json.loads(paths.settings_before(topology).read_text())
    except (OSError, ValueError):
        return {}
    return found


def keep(topology: str, changed: Mapping[str, dict[str, str]]) -> None:
    """Keep that; a topology that has changed nothing has no file."""
    path = paths.settings_before(topology)
    if changed:
        paths.make_private_folder(path.parent)
        write_private(path, json.dumps(changed) + "\n")
    else:
        path.unlink(missing_ok=True)
