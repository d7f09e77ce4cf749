"""Attributes are written and read as the kernel lays them out, and dumps that were disturbed are repeated."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.errors import LtkError
from ltk.kernel import netlink
from ltk.kernel.attributes import (
    as_number,
    as_text,
    attribute,
    attributes,
    each_attribute,
    nested,
    number,
    text,
)
from ltk.kernel.netlink import (
    HEADER,
    NLM_F_CAPPED,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    Netlink,
    NetlinkError,
)

RTM_NEWLINK = 16


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=300)), max_size=20))
def test_what_is_written_is_read_back_in_order(values: list[tuple[int, bytes]]) -> None:
    data = b"".join(attribute(kind, value) for kind, value in values)
    assert len(data) % 4 == 0
    assert each_attribute(data) == values


def test_nested_attributes_are_attributes() -> None:
    data = b"head" + nested(18, text(1, "bridge"), number(2, 7))
    found = attributes(attributes(data, 4)[18])
    assert (as_text(found[1]), as_number(found[2]), as_number(found.get(3))) == ("bridge", 7, 0)


@given(st.binary(max_size=200))
def test_bytes_of_any_shape_are_read_to_an_end(data: bytes) -> None:
    assert all(isinstance(value, bytes) for _, value in each_attribute(data))


class Dumps:
    """A socket that answers each question with the next of several dumps: messages of (type, flags, body)."""

    def __init__(self, *dumps: list[tuple[int, int, bytes]]) -> None:
        self.dumps = list(dumps)
        self.asked = 0
        self.answers: list[bytes] = []

    def send(self, data: bytes) -> None:
        _, _, _, sequence, _ = HEADER.unpack_from(data)
        dump = self.dumps[min(self.asked, len(self.dumps) - 1)]
        self.asked += 1
        self.answers += [
            HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body
            for kind, flags, body in dump
        ]

    def recv(self, size: int) -> bytes:
        assert self.answers, "somebody waits for an answer that never comes"
        return self.answers.pop(0)


def dump(*dumps: list[tuple[int, int, bytes]]) -> list[bytes]:
    return Netlink("ltk-t-home", Dumps(*dumps)).dump(18, b"")  # type: ignore[arg-type]


DONE = (NLMSG_DONE, 0, bytes(4))


def test_a_dump_in_several_parts_is_one() -> None:
    assert dump([(RTM_NEWLINK, 0, b"one!"), (RTM_NEWLINK, 0, b"two!"), DONE]) == [b"one!", b"two!"]


@pytest.mark.parametrize(
    "disturbed",
    [
        [(RTM_NEWLINK, NLM_F_DUMP_INTR, b"one!"), DONE],
        [(RTM_NEWLINK, 0, b"one!"), (NLMSG_DONE, NLM_F_DUMP_INTR, bytes(4))],
    ],
)
def test_a_dump_that_was_disturbed_is_asked_for_again(disturbed: list[tuple[int, int, bytes]]) -> None:
    assert dump(disturbed, disturbed, [(RTM_NEWLINK, 0, b"two!"), DONE]) == [b"two!"]


def test_a_dump_that_is_always_disturbed_is_given_up() -> None:
    made = Dumps([(RTM_NEWLINK, NLM_F_DUMP_INTR, b"one!"), DONE])
    with pytest.raises(LtkError, match="reading ltk-t-home: it changes faster than it can be read"):
        Netlink("ltk-t-home", made).dump(18, b"")  # type: ignore[arg-type]
    assert made.asked == netlink.DUMP_ATTEMPTS


def test_a_dump_that_is_refused_says_so() -> None:
    refusal = struct.pack("=i", -errno.EOPNOTSUPP) + HEADER.pack(16, 18, 0, 1, 0)
    with pytest.raises(NetlinkError, match="reading ltk-t-home: Operation not supported") as caught:
        dump([(NLMSG_ERROR, NLM_F_CAPPED, refusal)])
    assert caught.value.code == errno.EOPNOTSUPP
