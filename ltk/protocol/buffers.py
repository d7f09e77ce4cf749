"""Buffers for bursts, of which most nodes use the first few pages only."""

from __future__ import annotations

import mmap


def buffer(size: int) -> memoryview:
    """`size` writable zero bytes. Pages that are never written take no memory.

    Not so with a bytearray, which Python fills with zeros itself: in a lab of a hundred nodes the buffers
    of those that have nothing to do would take 70 MB.
    """
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
