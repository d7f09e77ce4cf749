"""A table is read from the kernel's messages in the shape in which nft prints it."""

from __future__ import annotations

import struct

from ltk.kernel import nftables
from ltk.kernel.attributes import attribute, attributes, nested, text


def big(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">i", value))


def test_a_base_chain_has_its_hook_and_another_one_its_name() -> None:
    hook = nested(nftables.CHAIN_HOOK, big(nftables.HOOK_NUMBER, 4), big(nftables.HOOK_PRIORITY, -100))
    body = text(nftables.TABLE, "ltk") + text(nftables.CHAIN_NAME, "source") + hook
    body += text(nftables.CHAIN_TYPE, "nat") + big(nftables.CHAIN_POLICY, 1)
    expected = {"name": "source", "type": "nat", "hook": "postrouting", "prio": -100, "policy": "accept"}
    assert nftables._chain(attributes(body)) == expected
    assert nftables._chain(attributes(text(nftables.CHAIN_NAME, "mine"))) == {"name": "mine"}


def test_the_comment_is_found_among_what_nft_keeps_with_a_rule() -> None:
    assert nftables._comment(b"\x01\x02ab\x00\x04cde\0") == "cde"
    assert nftables._comment(b"\x01\x02ab") is None
    assert nftables._comment(b"") is None
    assert nftables._comment(b"\x01") is None
