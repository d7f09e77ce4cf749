"""What links do to packets, a site's and a host's: the conditions stated, checked and made explicit."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from ltk.topology.copies import SiteCopy
from ltk.topology.expanded import Link
from ltk.topology.model import MAX_SEED, LinkSpec
from ltk.topology.problems import Findings, Path
from ltk.topology.quantities import duration_text


def check_links(sites: Iterable[SiteCopy], findings: Findings) -> None:
    """No packet arrives before it was sent, so the jitter is at most the delay; nor without one earlier."""
    for link, path in _stated(sites):
        if findings.doubts((*path, "delay")):
            continue
        if link.jitter > link.delay and not findings.doubts((*path, "jitter")):
            jitter, delay = duration_text(link.jitter), duration_text(link.delay)
            findings.add(
                (*path, "jitter"),
                f"{jitter} is more than the delay of {delay}",
                "the delay varies by up to the jitter, up and down",
            )
        if link.reorder and not link.delay and not findings.doubts((*path, "reorder")):
            problem = "without a delay there is nothing to overtake"
            findings.add((*path, "reorder"), problem, "packets that are reordered do without the delay")


def _stated(sites: Iterable[SiteCopy]) -> Iterator[tuple[LinkSpec, Path]]:
    for site in sites:
        if site.spec.link is not None:
            yield site.spec.link, (*site.path, "link")
        if isinstance(site.spec.hosts, dict):
            for name, host in site.spec.hosts.items():
                if host.link is not None:
                    yield host.link, (*site.path, "hosts", name, "link")


def link_of(link: LinkSpec | None, name: str, index: int) -> Link | None:
    """The link of a site or a host with nothing left implicit; None for a plain cable.

    Copies lose different packets: the `index`-th has a seed of its own.
    """
    if link is None:
        return None
    seed = zlib.crc32(name.encode()) if link.seed is None else (link.seed + index) % (MAX_SEED + 1)
    return Link(link.delay, link.jitter, link.loss, seed, link.rate, link.reorder, link.duplicate)
