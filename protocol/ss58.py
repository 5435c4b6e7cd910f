"""SS58: how hotkeys are written for people (32 bytes ↔ text, address type 42).

Source: Substrate's SS58 registry; base58 as in Bitcoin, checksum BLAKE2b-512 over "SS58PRE". Kept
here, in thirty lines, because offline verification must not need a chain SDK.
"""

from hashlib import blake2b

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PREFIX = bytes([42])
_TEXT_LENGTH = 48
_PAYLOAD_BYTES = 35  # address type, 32 bytes of key, 2 of checksum


def _checksum(payload: bytes) -> bytes:
    return blake2b(b"SS58PRE" + payload).digest()[:2]


def encode_ss58(key: bytes) -> str:
    """Address of a 32-byte public key, 48 characters."""
    if len(key) != 32:
        raise ValueError(f"a public key has 32 bytes, not {len(key)}")
    payload = _PREFIX + key
    number = int.from_bytes(payload + _checksum(payload), "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return text


def decode_ss58(address: str) -> bytes:
    """Public key of an address of type 42, 32 bytes.

    Raises:
        ValueError: says what is wrong with the address.
    """
    if len(address) != _TEXT_LENGTH or any(c not in _ALPHABET for c in address):
        raise ValueError(f"{address[:60]!r} is not an SS58 address of {_TEXT_LENGTH} characters")
    number = 0
    for character in address:
        number = number * 58 + _ALPHABET.index(character)
    if number >= 256**_PAYLOAD_BYTES:
        raise ValueError(f"{address!r} encodes too large a number")
    payload, checksum = (raw := number.to_bytes(_PAYLOAD_BYTES, "big"))[:-2], raw[-2:]
    if payload[:1] != _PREFIX:
        raise ValueError(f"{address!r} has address type {payload[0]}, not 42")
    if checksum != _checksum(payload):
        raise ValueError(f"{address!r} has a wrong checksum: mistyped?")
    return payload[1:]
