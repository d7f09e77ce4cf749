"""The primitives against published vectors, and the text form of keys."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltk.protocol import primitives
from ltk.protocol.primitives import Aead, LowOrderKeyError, NotAuthenticError, PrivateKey

# The points of order 1, 2, 4 and 8 in every encoding that the field's size allows (RFC 7748, section 6.1).
LOW_ORDER_POINTS = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]


def aead_vectors(vectors, name):
    for group in vectors(name)["testGroups"]:
        for test in group["tests"]:
            yield {
                k: bytes.fromhex(v) if k in ("key", "iv", "aad", "msg", "ct", "tag") else v
                for k, v in test.items()
            }


def check_aead(tests, nonce_size, seal, open_):
    checked = 0
    for t in tests:
        if len(t["iv"]) != nonce_size:
            continue
        checked += 1
        sealed = t["ct"] + t["tag"]
        if t["result"] == "valid":
            assert seal(t["key"], t["iv"], t["msg"], t["aad"]) == sealed, t["tcId"]
            assert open_(t["key"], t["iv"], sealed, t["aad"]) == t["msg"], t["tcId"]
        else:
            with pytest.raises(NotAuthenticError):
                open_(t["key"], t["iv"], sealed, t["aad"])
    assert checked > 200


def test_chacha20_poly1305_agrees_with_wycheproof(vectors):
    check_aead(
        aead_vectors(vectors, "wycheproof_chacha20_poly1305_test.json"),
        12,
        lambda key, nonce, *rest: Aead(key).seal(nonce, *rest),
        lambda key, nonce, *rest: Aead(key).open(nonce, *rest),
    )


def test_chacha20_poly1305_into_a_buffer_agrees_with_wycheproof(vectors):
    def seal(key, nonce, plaintext, aad):
        out = bytearray(len(plaintext) + 16)
        assert Aead(key).encrypt_into(nonce, plaintext, aad, out) == len(out)
        return bytes(out)

    def open_(key, nonce, sealed, aad):
        out = bytearray(len(sealed) - 16)
        assert Aead(key).decrypt_into(nonce, sealed, aad, out) == len(out)
        return bytes(out)

    check_aead(aead_vectors(vectors, "wycheproof_chacha20_poly1305_test.json"), 12, seal, open_)


def test_xchacha20_poly1305_agrees_with_wycheproof(vectors):
    check_aead(
        aead_vectors(vectors, "wycheproof_xchacha20_poly1305_test.json"),
        24,
        primitives.xseal,
        primitives.xopen,
    )


def test_x25519_agrees_with_wycheproof(vectors):
    zero_results = 0
    for group in vectors("wycheproof_x25519_test.json")["testGroups"]:
        for t in group["tests"]:
            private, public = PrivateKey(bytes.fromhex(t["private"])), bytes.fromhex(t["public"])
            if set(t["shared"]) == {"0"}:
                zero_results += 1
                with pytest.raises(LowOrderKeyError):
                    private.shared_with(public)
            else:
                assert private.shared_with(public).hex() == t["shared"], t["tcId"]
    assert zero_results > 0


@pytest.mark.parametrize("point", LOW_ORDER_POINTS, ids=range(7))
def test_a_low_order_point_shares_no_secret(point):
    with pytest.raises(LowOrderKeyError):
        PrivateKey(bytes(range(32))).shared_with(point)


@given(st.binary(max_size=64), st.lists(st.binary(max_size=100), max_size=3))
def test_hmac_agrees_with_the_standard_library(key, parts):
    assert primitives.hmac_of(key, *parts) == hmac.new(key, b"".join(parts), hashlib.blake2s).digest()


def test_hkdf_is_the_extract_and_expand_of_rfc_5869():
    key, material = b"k" * 32, b"material"
    secret = hmac.digest(key, material, hashlib.blake2s)
    expected, last = [], b""
    for number in (1, 2, 3):
        last = hmac.digest(secret, last + bytes([number]), hashlib.blake2s)
        expected.append(last)
    for outputs in (1, 2, 3):
        assert primitives.hkdf(key, material, outputs) == tuple(expected[:outputs])


@given(st.binary(min_size=32, max_size=32))
def test_a_made_private_key_is_clamped_and_keeps_its_public_key(random):
    private = primitives.private_key_from_random(random)
    assert private[0] & 7 == 0
    assert private[31] & 0xC0 == 0x40
    assert primitives.public_key_of(private) == primitives.public_key_of(random)


def test_a_private_key_is_not_made_of_too_few_random_bytes():
    with pytest.raises(ValueError, match="32 random bytes"):
        primitives.private_key_from_random(bytes(31))


@given(st.binary(min_size=32, max_size=32))
def test_key_text_goes_there_and_back(key):
    text = primitives.encode_key(key)
    assert len(text) == 44
    assert primitives.decode_key(text + "\n") == key


@pytest.mark.parametrize(
    "text",
    ["", "short", "A" * 44, "A" * 42 + "B=", "A" * 43 + "=" + "A", "ä" * 44, "A" * 43, "-" * 43 + "="],
)
def test_what_is_no_key_is_refused_without_repeating_it(text):
    with pytest.raises(ValueError, match="44 characters of base64") as caught:
        primitives.decode_key(text)
    assert not text or text not in str(caught.value)


def test_a_private_key_does_not_show_itself():
    secret = bytes(range(32))
    shown = repr(PrivateKey(secret))
    assert secret.hex() not in shown
    assert primitives.encode_key(secret) not in shown
