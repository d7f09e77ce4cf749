"""What a site's link does to packets: the conditions that the file states, checked and made explicit."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from ltk.topology.copies import SiteCopy
from ltk.topology.expanded import Link
from ltk.topology.model import MAX_SEED
from ltk.topology.problems import Findings
from ltk.topology.quantities import duration_text


def check_links(sites: Iterable[SiteCopy], findings: Findings) -> None:
    """No packet may arrive before it was sent: the jitter is at most the delay."""
    for site in sites:
        link, path = site.spec.link, (*site.path, "link")
        if link is None or findings.doubts((*path, "delay")) or findings.doubts((*path, "jitter")):
            continue
        if link.jitter > link.delay:
            jitter, delay = duration_text(link.jitter), duration_text(link.delay)
            findings.add(
                (*path, "jitter"),
                f"{jitter} is more than the delay of {delay}",
                "the delay varies by up to the jitter, up and down",
            )


def link_of(site: SiteCopy) -> Link | None:
    """The site's link with nothing left implicit; None for a plain cable.

    Copies of a site lose different packets: each has a seed of its own.
    """
    link = site.spec.link
    if link is None:
        return None
    seed = zlib.crc32(site.name.encode()) if link.seed is None else (link.seed + site.index) % (MAX_SEED + 1)
    return Link(link.delay, link.jitter, link.loss, seed)
