"""A network of one shared secret, broken: who has which key, who becomes a peer, what is left."""

from __future__ import annotations

import fcntl
from ipaddress import IPv4Address, IPv6Address

from ltk.kernel.tuntap import TUNSETPERSIST
from ltk.node import own_device
from ltk.protocol.drops import Drop
from ltk.protocol.engine import Engine
from ltk.protocol.messages import Place
from ltk.protocol.peer import Peer
from ltk.protocol.roster import Roster
from ltk.protocol.shared_secret import SharedSecret
from ltk.testing.breaking import mutant, replace


@mutant("secret-key-without-address")
def _key_without_address() -> None:
    """Every node of a network has the same key."""
    key = SharedSecret.private_key

    def the_same(secret: SharedSecret, _address: IPv4Address | IPv6Address) -> bytes:
        return key(secret, secret.subnet.network_address)

    replace(SharedSecret, "private_key", the_same)


@mutant("secret-answers-strangers")
def _answers_strangers() -> None:
    """Who does not know the node's key is told to come again."""
    admit = Engine._admit

    def answer(engine: Engine, message: memoryview, source: Place, now: float) -> Drop | None:
        refusal = admit(engine, message, source, now)
        if refusal is Drop.BAD_MAC1:
            engine._local.send(engine._checker.cookie_reply(message, source, now), source)
        return refusal

    replace(Engine, "_admit", answer)


@mutant("secret-no-newcomers")
def _no_newcomers() -> None:
    """Peers are those of the configuration."""

    def known(roster: Roster, public_key: bytes) -> Peer | None:
        return roster.get(public_key)

    replace(Roster, "find", known)


@mutant("secret-peer-before-proof")
def _peer_before_proof() -> None:
    """Who names a key becomes its peer, whether or not it is proven."""
    replace(Roster, "expects", lambda roster, public_key: roster.find(public_key) is not None)


@mutant("adhoc-device-stays")
def _device_stays() -> None:
    """The device outlives its process."""
    make = own_device._open

    def keep(name: str, *, with_headers: bool) -> int | None:
        descriptor = make(name, with_headers=with_headers)
        if descriptor is not None:
            fcntl.ioctl(descriptor, TUNSETPERSIST, 1)
        return descriptor

    replace(own_device, "_open", keep)
