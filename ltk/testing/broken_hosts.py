"""Real hosts, broken: what is not ltk's is touched, or what ltk needs of a machine is not given back."""

from __future__ import annotations

from collections.abc import Collection

from ltk.node import privileges
from ltk.node.udp import Udp
from ltk.reconcile import here, settings
from ltk.reconcile.here import Look
from ltk.reconcile.resources import Key, Resource
from ltk.testing.breaking import mutant, replace


@mutant("host-sends-without-mark")
def _host_sends_without_mark() -> None:
    """What the daemon sends is led into the tunnel like everything else."""

    def not_at_all(self: Udp, mark: int) -> None:
        del self, mark

    replace(Udp, "mark", not_at_all)


@mutant("host-takes-what-is-anybodys")
def _host_takes_what_is_anybodys() -> None:
    """Every address, route and rule that is looked at counts as ltk's."""

    def all_ours(resource: Resource, ours: bool, keys: Collection[Key], found: Look) -> None:
        del ours, keys
        if not any(each.key == resource.key for each in found.resources):
            found.resources.append(resource)

    replace(here, "_sort_in", all_ours)


@mutant("host-keeps-its-settings")
def _host_keeps_its_settings() -> None:
    """What a setting was is forgotten, and nobody sets it back."""

    def forget(topology: str, setting: str) -> None:
        before = dict(settings.before(topology))
        before.pop(setting, None)
        settings.keep(topology, before)

    replace(settings, "_give_back", forget)


@mutant("daemon-keeps-its-privileges")
def _daemon_keeps_its_privileges() -> None:
    """The daemon goes on with all that root may do."""
    replace(privileges, "drop", lambda: None)
