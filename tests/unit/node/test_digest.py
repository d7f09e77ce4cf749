"""The digest by which a daemon and the reconciler find out that they mean the same."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from test_node_config import DOCUMENT, KEY, OTHER_KEY, PEER

from ltk.node.digest import Digester, digest

PEERS = [PEER, {**PEER, "name": "spoke", "public_key": OTHER_KEY}]
LARGER: dict[str, Any] = {**DOCUMENT, "peers": PEERS}


def backwards(value: Any) -> Any:
    """The same JSON value with the keys of every object the other way round."""
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return [backwards(each) for each in value] if isinstance(value, list) else value


def test_the_text_says_what_the_document_does_in_whichever_order_its_keys_stand() -> None:
    for document in (DOCUMENT, LARGER, {**DOCUMENT, "peers": []}, {"peers": "none"}, {}):
        text = Digester().text(document)
        assert json.loads(text) == document
        assert Digester().text(backwards(document)) == text


def test_who_has_the_text_has_the_same_digest() -> None:
    digester = Digester()
    for _ in range(2):  # also from what is remembered
        told = digester.digest(LARGER, KEY, {"hub": None})
        assert told == digest(digester.text(LARGER), KEY, {"hub": None})


@given(st.sampled_from(sorted(PEER)), st.integers(0, 1))
def test_the_digest_changes_with_everything_that_is_told_of_a_peer(key: str, which: int) -> None:
    peers = [{**peer, key: "changed"} if at == which else peer for at, peer in enumerate(PEERS)]
    before = Digester().digest(LARGER, KEY, {})
    assert Digester().digest({**LARGER, "peers": peers}, KEY, {}) != before
    assert Digester().digest({**LARGER, "peers": PEERS[::-1]}, KEY, {}) != before


@given(st.sampled_from(sorted(set(DOCUMENT) - {"peers"})))
def test_the_digest_changes_with_everything_else_and_with_the_keys(key: str) -> None:
    before = Digester().digest(LARGER, KEY, {"hub": None})
    assert Digester().digest({**LARGER, key: "changed"}, KEY, {"hub": None}) != before
    assert Digester().digest(LARGER, OTHER_KEY, {"hub": None}) != before
    assert Digester().digest(LARGER, KEY, {"hub": "12345678"}) != before
