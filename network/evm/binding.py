"""What a hotkey signs to let an EVM address post for it."""

from assay.protocol.score_tree import keccak256

#: First field of the message: a signature for this serves nothing else.
_DOMAIN = keccak256(b"assay/v1/evm-binding")


def compute_binding_message(
    contract: str, chain_id: int, hotkey: bytes, poster: str, nonce: int, expiry: int
) -> bytes:
    """keccak256 of the ABI's encoding of domain, contract, chain, hotkey, poster, nonce, expiry.

    Args:
        contract, poster: addresses, 0x and 40 digits.
        nonce: how often the hotkey was bound before.
        expiry: Unix time in seconds.

    Returns:
        32 bytes, signed as they are.
    """
    return keccak256(
        _DOMAIN
        + _word(int(contract, 16))
        + _word(chain_id)
        + hotkey
        + _word(int(poster, 16))
        + _word(nonce)
        + _word(expiry)
    )


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")
