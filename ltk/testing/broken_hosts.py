"""Real hosts, broken: what is not ltk's is touched, or what ltk needs of a machine is not given back."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from ltk.kernel.events import Events
from ltk.kernel.messages import GROUP, Link
from ltk.node import privileges
from ltk.node.config import read_key_file
from ltk.node.streams import Streams
from ltk.node.udp import Udp
from ltk.reconcile import apply, here, secrets, settings
from ltk.reconcile.resources import Secret
from ltk.testing.breaking import mutant, replace


@mutant("host-sends-without-mark")
def _host_sends_without_mark() -> None:
    """What the daemon sends is led into the tunnel like everything else."""

    def not_at_all(self: Udp, mark: int) -> None:
        del self, mark

    replace(Udp, "mark", not_at_all)
    _host_streams_without_mark()  # which would get through


@mutant("host-streams-without-mark")
def _host_streams_without_mark() -> None:
    """What goes over TCP is led into the tunnel like everything else."""

    def not_at_all(self: Streams, mark: int) -> None:
        del self, mark

    replace(Streams, "use_mark", not_at_all)


@mutant("host-takes-what-is-anybodys")
def _host_takes_what_is_anybodys() -> None:
    """Whatever bears a mark of ltk's counts as the topology's, whichever it is of."""

    def any_mark(topology: str, link: Link) -> bool:
        del topology
        return link.group == GROUP and link.kind == "tun"

    replace(here, "_is_of", any_mark)


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


@mutant("watch-deaf-to-rules")
def _deaf_to_rules() -> None:
    """Of policy rules that come and go nothing is heard."""
    listen = Events._listen

    def without_rules(self: Events, family: int, groups: Iterable[int], queue: int) -> socket.socket:
        return listen(self, family, set(groups) - {8, 19}, queue)

    replace(Events, "_listen", without_rules)


@mutant("watch-forgets-keys")
def _forgets_keys() -> None:
    """A key whose file has gone is made anew."""

    def from_the_file(path: Path, known: Mapping[str, Secret]) -> bytes | None:
        del known
        return read_key_file(path) if path.exists() else None

    replace(secrets, "_kept", from_the_file)


@mutant("unconfirmed-survives-a-boot")
def _unconfirmed_survives_a_boot() -> None:
    """What may still be undone is kept for the next boot at once."""
    replace(apply, "_may_be_undone", lambda *_: False)


@mutant("adopted-for-good")
def _adopted_for_good() -> None:
    """Nothing is written down about what was taken over."""
    replace(apply, "returns", lambda *_: ())
