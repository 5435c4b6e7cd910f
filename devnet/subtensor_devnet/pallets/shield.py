"""Shielded submission: an extrinsic within an extrinsic, which only the block's author can open.

The author's keys follow from a secret that is kept beside the blocks, and change every few blocks;
the two newest are valid. Source: pallet shield (ML-KEM-768, XChaCha20-Poly1305).
"""

from functools import lru_cache
from hashlib import sha512

from bittensor_core import encrypt_mlkem768
from Crypto.Cipher import ChaCha20_Poly1305
from kyber_py.ml_kem import ML_KEM_768

from subtensor_devnet.errors import MalformedError
from subtensor_devnet.runtime import Arguments, DevnetRuntime, signed_call
from subtensor_devnet.scale import ScaleReader, hash_blake2
from subtensor_devnet.scale_codec import read_bytes

_PALLET = "MevShield"
#: Blocks between two new keys: what is shielded lives for so many.
_KEY_BLOCKS = 8
_KEY_HASH_BYTES, _NONCE_BYTES, _TAG_BYTES = 16, 24, 16
#: What comes before the encrypted text: key's hash, length, ML-KEM-768's ciphertext, nonce.
_KEM_BYTES = 1_088


def rotate_key(runtime: DevnetRuntime) -> None:
    """Announces a new key where it is time."""
    state = runtime.state
    if runtime.number % _KEY_BLOCKS and state.has(_PALLET, "NextKey"):
        return
    state.put(_PALLET, "NextKey", _make_keys(runtime.secret, _get_period(runtime.number))[0])
    state.put(_PALLET, "NextKeyExpiresAt", runtime.number + 2 * _KEY_BLOCKS)


@signed_call(_PALLET, "submit_encrypted")
def submit_encrypted(runtime: DevnetRuntime, who: str, arguments: Arguments) -> None:
    """Opens what is within; what cannot be opened is not missed."""
    ciphertext = read_bytes(arguments["ciphertext"])
    fields = {"id": "0x" + hash_blake2(ciphertext).hex(), "who": who}
    runtime.deposit(_PALLET, "EncryptedSubmitted", fields)
    try:
        inner = _open(runtime.secret, runtime.number, ciphertext)
    except MalformedError:
        return
    if inner is not None:
        runtime.shielded.append(inner)


def _open(secret: bytes, number: int, ciphertext: bytes) -> bytes | None:
    reader = ScaleReader(ciphertext)
    key_hash = reader.take(_KEY_HASH_BYTES)
    encapsulated = reader.take(int.from_bytes(reader.take(2), "little"))
    nonce = reader.take(_NONCE_BYTES)
    text, tag = reader.rest[:-_TAG_BYTES], reader.rest[-_TAG_BYTES:]
    newest = _get_period(number)
    for period in range(newest, max(-1, newest - 2), -1):
        _, private, known_hash = _make_keys(secret, period)
        if known_hash == key_hash and len(encapsulated) == _KEM_BYTES:
            shared = ML_KEM_768.decaps(private, encapsulated)
            try:
                return ChaCha20_Poly1305.new(key=shared, nonce=nonce).decrypt_and_verify(text, tag)
            except ValueError:  # it was tampered with
                return None
    return None


def _get_period(number: int) -> int:
    return number // _KEY_BLOCKS


@lru_cache(maxsize=4)
def _make_keys(secret: bytes, period: int) -> tuple[bytes, bytes, bytes]:
    """Public key, private key, and the hash by which the public one is named."""
    seed = sha512(secret + period.to_bytes(8, "big")).digest()
    public, private = ML_KEM_768.key_derive(seed)
    named: bytes = encrypt_mlkem768(public, b"", include_key_hash=True)
    return public, private, named[:_KEY_HASH_BYTES]
