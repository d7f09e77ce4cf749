"""The keys of a shared secret: the same on every machine and in every version, and all of them different."""

from __future__ import annotations

import hashlib
import hmac
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from ltk.protocol.primitives import encode_key, public_key_of
from ltk.protocol.shared_secret import SharedSecret

SECRET = b"correct horse battery staple"
SUBNET = IPv4Network("10.0.0.0/24")

# Made once, and never to change: machines with different versions of ltk have to find the same keys.
VECTORS = [
    (
        SECRET,
        "10.0.0.0/24",
        "10.0.0.1",
        "DYAg6bZrsptmsfSobLr0oxA1yFAAeXn3ZXQqEurCj38=",
        "wROFQfIcR/xw262q0R1CZefLzbaxtV+qAlNRddt5uYQ=",
    ),
    (
        SECRET,
        "10.0.0.0/24",
        "10.0.0.2",
        "JpdHBgmsJ4LphloL93A9Bf5CUHb0cE9q+RWLV7EoLSc=",
        "wROFQfIcR/xw262q0R1CZefLzbaxtV+qAlNRddt5uYQ=",
    ),
    (
        SECRET,
        "10.0.0.0/20",
        "10.0.0.1",
        "mcqhlUjZ8StbWnJ1s730gN3N/oRBf0rt1eBSj0D9qwI=",
        "nYkmf7nR4G3K6K2GeH5l0mXaLymcGVqA9X2kenOiOUg=",
    ),
    (
        b"\0\xff",
        "fd00::/116",
        "fd00::2",
        "uvRoCfOqr2ubcBkmK2/tSM1Dt6/3ezY/73U1/BskwUY=",
        "Sd0t8LSOXABiNbJ0z0rbHe+E+zGNiavPzXaqb+ZVUhQ=",
    ),
]


@pytest.mark.parametrize(("secret", "subnet", "address", "public", "preshared"), VECTORS)
def test_keys_are_what_they_were(
    secret: bytes, subnet: str, address: str, public: str, preshared: str
) -> None:
    is_6 = ":" in subnet
    network = SharedSecret(secret, IPv6Network(subnet) if is_6 else IPv4Network(subnet))
    key = network.private_key(IPv6Address(address) if is_6 else IPv4Address(address))
    assert encode_key(public_key_of(key)) == public
    assert encode_key(network.preshared_key) == preshared


def test_keys_are_made_as_the_reference_says() -> None:
    """docs/protocol.md, followed with the standard library alone."""
    seed = hashlib.scrypt(
        SECRET, salt=b"ltk network 1 10.0.0.0/24", n=32768, r=8, p=3, maxmem=1 << 26, dklen=32
    )
    block = hmac.new(seed, b"ltk node key\0" + bytes((10, 0, 0, 2)) + b"\x01", hashlib.blake2s).digest()
    clamped = bytes((block[0] & 248, *block[1:31], block[31] & 127 | 64))
    network = SharedSecret(SECRET, SUBNET)
    assert network.private_key(IPv4Address("10.0.0.2")) == clamped
    preshared = hmac.new(seed, b"ltk pre-shared key\x01", hashlib.blake2s).digest()
    assert network.preshared_key == preshared


def test_each_address_has_a_key_of_its_own() -> None:
    network = SharedSecret(SECRET, SUBNET)
    keys = {network.private_key(address) for address in SUBNET}
    assert len(keys) == 256
    assert network.preshared_key not in keys


def test_another_secret_or_subnet_is_another_network() -> None:
    address = IPv4Address("10.0.0.2")
    networks = [
        SharedSecret(SECRET, SUBNET),
        SharedSecret(SECRET + b"r", SUBNET),
        SharedSecret(SECRET, IPv4Network("10.0.0.0/25")),
    ]
    assert len({network.private_key(address) for network in networks}) == 3
    assert len({network.preshared_key for network in networks}) == 3


def test_the_secret_and_its_seed_never_show() -> None:
    network = SharedSecret(SECRET, SUBNET)
    assert repr(network) == "SharedSecret(subnet='10.0.0.0/24')"
