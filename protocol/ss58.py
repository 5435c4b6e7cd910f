"""SS58: how hotkeys are written for people (32 bytes ↔ text, address type 42).

Source: Substrate's SS58 registry; base58 as in Bitcoin, checksum BLAKE2b-512 over "SS58PRE". Assay
has its own, because offline verification must not need a chain SDK.
"""

from hashlib import blake2b

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PREFIX = bytes([42])
_TEXT_LENGTH = 48
_PAYLOAD_BYTES = 35  # address type, 32 bytes of key, 2 of checksum
_LONGEST_TEXT = 50  # of addresses of other networks, whose type may take two bytes


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
    number = _read_number(address)
    if len(address) == _TEXT_LENGTH and number is not None and number < 256**_PAYLOAD_BYTES:
        raw = number.to_bytes(_PAYLOAD_BYTES, "big")
        if raw[:1] == _PREFIX and raw[-2:] == _checksum(raw[:-2]):
            return raw[1:-2]
    raise ValueError(f"{address[:60]!r} {_find_fault(address, number)}")


def _read_number(address: str) -> int | None:
    """The number that a base58 text encodes. None: it has other letters than base58, or is longer
    than any address."""
    if not address or len(address) > _LONGEST_TEXT or any(c not in _ALPHABET for c in address):
        return None
    number = 0
    for character in address:
        number = number * 58 + _ALPHABET.index(character)
    return number


def _find_fault(address: str, number: int | None) -> str:
    """The fault of a text that is not an address of type 42. The types of other networks take one
    or two bytes: 0 to 63, and 64 to 16,383."""
    for size in (_PAYLOAD_BYTES, _PAYLOAD_BYTES + 1):
        if number is None or number >= 256**size:
            continue
        raw = number.to_bytes(size, "big")
        low, high = raw[0], raw[1]
        if size == _PAYLOAD_BYTES and low < 64:
            prefix, key = low, raw[1:-2]
        elif size > _PAYLOAD_BYTES and 64 <= low < 128:
            prefix, key = (low & 0x3F) << 2 | high >> 6 | (high & 0x3F) << 8, raw[2:-2]
        else:
            continue
        if raw[-2:] == _checksum(raw[:-2]) and prefix != _PREFIX[0]:
            return (
                f"is an address of another network: it has prefix {prefix}, not {_PREFIX[0]}; "
                f"with that, the same key's address is {encode_ss58(key)}"
            )
    if number is None or len(address) != _TEXT_LENGTH or number >= 256**_PAYLOAD_BYTES:
        return f"is not an SS58 address of {_TEXT_LENGTH} characters"
    return "has a wrong checksum: mistyped?"
