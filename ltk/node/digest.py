"""Whether a daemon has been told what somebody wants of it, found out without sending the whole.

Both hash the same text: the document as `Digester.text` writes it, in the daemon's own file as well. A file
that says the same in another way has another digest; then the daemon sends what it was told, and that is
compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Digester:
    """Writes and hashes configurations; remembers the text of peers' values that several of them share.

    A shared value must not change between two calls.
    """

    def __init__(self) -> None:
        self._texts: dict[int, tuple[object, str]] = {}  # by identity, of objects that are kept alive here

    def text(self, document: Mapping[str, object]) -> str:
        """A configuration's JSON value as text: always the same, in whichever order its keys stand."""
        peers = document.get("peers")
        if not isinstance(peers, list):
            return _encode(document)
        rest = _encode({key: value for key, value in document.items() if key != "peers"})
        return f'{rest[:-1]},"peers":[{",".join([self._shared(peer) for peer in peers])}]}}'

    def digest(
        self, document: Mapping[str, object], public_key: str, psk_ids: Mapping[str, str | None]
    ) -> str:
        """The digest of what a daemon is told, and of what tells which keys that goes with."""
        return digest(self.text(document), public_key, psk_ids)

    def _shared(self, peer: object) -> str:
        known = self._texts.get(id(peer))
        if known is None:
            known = self._texts[id(peer)] = (peer, _encode(peer))
        return known[1]


def digest(text: str, public_key: str, psk_ids: Mapping[str, str | None]) -> str:
    """The same for whoever has the text."""
    hashed = hashlib.blake2s(_encode([public_key, psk_ids]).encode(), person=b"ltk-conf")
    hashed.update(text.encode())
    return hashed.hexdigest()
