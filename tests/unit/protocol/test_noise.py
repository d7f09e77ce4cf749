"""The handshake against the published transcript, and against forgeries."""

from __future__ import annotations

import pytest

from ltk.protocol.noise import InitiationParts, Initiator, Responder, ResponseParts
from ltk.protocol.primitives import Aead, LowOrderKeyError, NotAuthenticError, PrivateKey, counter_nonce

PSK = bytes(range(32))
ALICE, BOB = PrivateKey(b"a" * 32), PrivateKey(b"b" * 32)
ALICE_ONCE, BOB_ONCE = PrivateKey(b"c" * 32), PrivateKey(b"d" * 32)
SHARED = ALICE.shared_with(BOB.public)


def test_both_sides_agree_with_the_published_transcript(vectors):
    (vector,) = vectors("noise_ikpsk2_25519_chachapoly_blake2s.json")["vectors"]
    value = {k: bytes.fromhex(v) for k, v in vector.items() if isinstance(v, str) and k != "protocol_name"}
    psk = bytes.fromhex(vector["init_psks"][0])
    says = [{k: bytes.fromhex(v) for k, v in message.items()} for message in vector["messages"]]
    alice, bob = PrivateKey(value["init_static"]), PrivateKey(value["resp_static"])
    assert bob.public == value["init_remote_static"]

    initiator = Initiator(alice, bob.public, PrivateKey(value["init_ephemeral"]), value["init_prologue"])
    asked = initiator.write_initiation(alice.shared_with(bob.public), says[0]["payload"])
    assert b"".join(asked) == says[0]["ciphertext"]

    responder = Responder(bob, value["resp_prologue"])
    assert responder.read_static(asked.ephemeral, asked.static) == alice.public
    assert responder.read_payload(bob.shared_with(alice.public), asked.payload) == says[0]["payload"]
    answer, bobs = responder.write_response(PrivateKey(value["resp_ephemeral"]), psk, says[1]["payload"])
    assert b"".join(answer) == says[1]["ciphertext"]

    payload, alices = initiator.read_response(answer, psk)
    assert payload == says[1]["payload"]
    assert initiator.handshake_hash == responder.handshake_hash == value["handshake_hash"]

    for number, message in enumerate(says[2:]):
        sender, receiver = (alices, bobs) if number % 2 == 0 else (bobs, alices)
        nonce = counter_nonce(number // 2)
        assert Aead(sender.send).seal(nonce, message["payload"], b"") == message["ciphertext"]
        assert Aead(receiver.receive).open(nonce, message["ciphertext"], b"") == message["payload"]


def start() -> tuple[Initiator, InitiationParts]:
    initiator = Initiator(ALICE, BOB.public, ALICE_ONCE)
    return initiator, initiator.write_initiation(SHARED, b"payload")


def answered() -> tuple[Initiator, ResponseParts]:
    initiator, asked = start()
    responder = Responder(BOB)
    responder.read_static(asked.ephemeral, asked.static)
    responder.read_payload(SHARED, asked.payload)
    return initiator, responder.write_response(BOB_ONCE, PSK)[0]


def test_a_forged_answer_does_not_spoil_the_handshake():
    initiator, answer = answered()
    before = initiator.handshake_hash
    for forged in (
        ResponseParts(PrivateKey(b"z" * 32).public, answer.payload),
        ResponseParts(answer.ephemeral, bytes(16)),
    ):
        with pytest.raises(NotAuthenticError):
            initiator.read_response(forged, PSK)
    with pytest.raises(LowOrderKeyError):
        initiator.read_response(ResponseParts(bytes(32), answer.payload), PSK)
    assert initiator.handshake_hash == before
    assert initiator.read_response(answer, PSK)[0] == b""


def test_a_wrong_preshared_key_is_found_out_by_the_initiator():
    initiator, answer = answered()
    with pytest.raises(NotAuthenticError):
        initiator.read_response(answer, bytes(32))


def test_every_part_of_the_initiation_is_authenticated():
    _, asked = start()
    for name in InitiationParts._fields:
        good = getattr(asked, name)
        changed = asked._replace(**{name: good[:-1] + bytes([good[-1] ^ 1])})
        responder = Responder(BOB)

        def read(responder=responder, parts=changed):
            responder.read_static(parts.ephemeral, parts.static)
            responder.read_payload(SHARED, parts.payload)

        with pytest.raises(NotAuthenticError):
            read()


def test_another_prologue_is_another_protocol():
    asked = Initiator(ALICE, BOB.public, ALICE_ONCE, b"another").write_initiation(SHARED, b"")
    with pytest.raises(NotAuthenticError):
        Responder(BOB).read_static(asked.ephemeral, asked.static)


def test_keys_do_not_show_themselves():
    initiator, answer = answered()
    keys = initiator.read_response(answer, PSK)[1]
    assert repr(keys) == "TransportKeys(secret)"
