"""Real hosts, broken: what is not ltk's is touched, or what ltk needs of a machine is not given back."""

from __future__ import annotations

from ltk.kernel.messages import GROUP, Link
from ltk.node import privileges
from ltk.node.streams import Streams
from ltk.node.udp import Udp
from ltk.reconcile import here, settings
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
