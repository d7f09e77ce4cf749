"""STUN Binding requests and their answers (RFC 8489): which port a NAT chose for a destination.

Nothing is authenticated here, so a request is at least as large as its answer, and an answer counts
only where its transaction was asked for.
"""

from __future__ import annotations

from ipaddress import ip_address

from ltk.protocol.messages import Endpoint

TRANSACTION_SIZE = 12  # bytes

_MAGIC_COOKIE = bytes.fromhex("2112a442")  # section 5
_REQUEST = bytes.fromhex("0001")
_SUCCESS = bytes.fromhex("0101")
_XOR_MAPPED_ADDRESS = bytes.fromhex("0020")  # section 14.2
_SOFTWARE = bytes.fromhex("8022")  # section 14.14: text for people, which pads the request here
_FAMILIES = {4: 1, 16: 2}  # by the size of an address

_HEADER_SIZE = 20
_ATTRIBUTE_HEADER_SIZE = 4
_LARGEST_ANSWER = 44  # bytes: one XOR-MAPPED-ADDRESS of IPv6


def binding_request(transaction: bytes) -> bytes:
    """Return a Binding request as large as the largest answer to it."""
    text = b"ltk".ljust(_LARGEST_ANSWER - _HEADER_SIZE - _ATTRIBUTE_HEADER_SIZE)
    return _message(_REQUEST, transaction, _SOFTWARE, text)


def answer(request: memoryview, source: Endpoint) -> bytes | None:
    """Return the answer to a Binding request from `source`; None where it is none, or smaller than that."""
    if len(request) < _HEADER_SIZE or bytes(request[:2]) != _REQUEST:
        return None
    packed = source.packed()
    address, port = packed[:-2], packed[-2:]
    transaction = bytes(request[8:20])
    mask = _MAGIC_COOKIE + transaction
    value = bytes((0, _FAMILIES[len(address)])) + _xor(port, mask) + _xor(address, mask)
    message = _message(_SUCCESS, transaction, _XOR_MAPPED_ADDRESS, value)
    return message if len(message) <= len(request) else None


def mapped_address(message: memoryview, transaction: bytes) -> Endpoint | None:
    """Return what the answer to this transaction says; None where it is another's, or none."""
    if bytes(message[:2]) != _SUCCESS or bytes(message[8:20]) != transaction:
        return None
    mask = _MAGIC_COOKIE + transaction
    start = _HEADER_SIZE
    while start + _ATTRIBUTE_HEADER_SIZE <= len(message):
        kind = bytes(message[start : start + 2])
        size = int.from_bytes(message[start + 2 : start + 4], "big")
        value = bytes(message[start + 4 : start + 4 + size])
        address = value[4:]
        if kind == _XOR_MAPPED_ADDRESS and len(address) in _FAMILIES and size == len(value):
            port = int.from_bytes(_xor(value[2:4], mask), "big")
            return Endpoint(str(ip_address(_xor(address, mask))), port)
        start += _ATTRIBUTE_HEADER_SIZE + size + -size % 4
    return None


def _message(kind: bytes, transaction: bytes, attribute: bytes, value: bytes) -> bytes:
    body = attribute + len(value).to_bytes(2, "big") + value
    return kind + len(body).to_bytes(2, "big") + _MAGIC_COOKIE + transaction + body


def _xor(data: bytes, mask: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(data, mask, strict=False))
