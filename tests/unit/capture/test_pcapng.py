"""Capture files say what was captured, by the word of another's reader."""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from ltk.capture import pcapng


class Block(NamedTuple):
    """One captured packet, as it is put in and as it is to be read."""

    interface: int
    time: int
    data: bytes
    missing: int
    outgoing: bool
    comment: str | None


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
BLOCKS = st.lists(
    st.builds(
        Block,
        st.integers(0, 2),
        st.integers(0, (1 << 63) - 1),
        st.binary(max_size=300),
        st.integers(0, 1000),
        st.booleans(),
        st.none() | TEXTS,
    ),
    max_size=20,
)
INTERFACES = (("alice:eth0", 1), ("bob:ltk0", 101), ("hübsch:lo", 1))


def file_of(blocks: list[Block]) -> bytes:
    made = pcapng.section("a test") + b"".join(pcapng.interface(*each) for each in INTERFACES)
    for each in blocks:
        length = len(each.data) + each.missing
        made += pcapng.packet(
            each.interface, each.time, each.data, length, outgoing=each.outgoing, comment=each.comment
        )
    return made + pcapng.statistics(0, 5, len(blocks), 7)


@given(BLOCKS)
def test_what_is_written_is_what_another_reads(blocks: list[Block]) -> None:
    reader = RawPcapNgReader(io.BytesIO(file_of(blocks)))
    read = list(reader)
    assert len(read) == len(blocks)
    for (data, told), block in zip(read, blocks, strict=True):
        name, link = INTERFACES[block.interface]
        assert data == block.data
        assert (told.ifname.decode(), told.linktype) == (name, link)
        assert (told.tshigh << 32 | told.tslow, told.tsresol) == (block.time, 10**9)
        assert told.wirelen == len(block.data) + block.missing
        assert told.direction == (2 if block.outgoing else 1)
        assert told.comments == (None if block.comment is None else [block.comment.encode()])


@given(BLOCKS)
def test_blocks_are_multiples_of_four_and_have_their_length_at_both_ends(blocks: list[Block]) -> None:
    made, kinds, at = file_of(blocks), [], 0
    while at < len(made):
        kind, length = struct.unpack_from("<II", made, at)
        assert length % 4 == 0
        assert struct.unpack_from("<I", made, at + length - 4) == (length,)
        kinds.append(kind)
        at += length
    assert at == len(made)
    assert kinds == [0x0A0D0D0A, 1, 1, 1, *[6] * len(blocks), 5]


def test_a_file_that_was_cut_off_keeps_what_is_whole() -> None:
    blocks = [Block(0, 1, b"first", 0, False, None), Block(1, 2, b"second", 0, True, None)]
    whole = len(file_of(blocks[:1])) - len(pcapng.statistics(0, 5, 1, 7))
    for end in range(whole, whole + 40):
        reader = RawPcapNgReader(io.BytesIO(file_of(blocks)[:end]))
        assert [data for data, _ in reader] == [b"first"]
