"""The key that pays for posts. It holds a little money for gas, and nothing else of value."""

from hashlib import blake2b
from typing import Any

from assay.network.chain.errors import ChainError
from assay.protocol.ss58 import encode_ss58

#: Prefix of the bytes that subtensor hashes to the account with an EVM address's money. Source:
#: pallet_evm, HashedAddressMapping.
_MIRROR_PREFIX = b"evm:"


class EvmKey:
    """A secp256k1 key, of eth_account's LocalAccount. Neither `repr` nor any error shows it.
    `address` has the checksum of EIP-55."""

    def __init__(self, account: Any) -> None:
        self.__account = account
        self.address: str = account.address

    @classmethod
    def create(cls) -> "EvmKey":
        """A new key, from the system's randomness."""
        from eth_account import Account

        return cls(Account.create())

    @classmethod
    def from_keystore(cls, keystore: Any, password: str) -> "EvmKey":
        """The key in a keystore's JSON (version 3, as geth, MetaMask and the SDK write it).
        `ChainError`: not a keystore, or the password is wrong."""
        from eth_account import Account

        try:
            return cls(Account.from_key(Account.decrypt(keystore, password)))
        except (ValueError, TypeError, KeyError, NotImplementedError):  # not their texts
            raise ChainError(
                "the EVM key cannot be opened: the password is wrong, or the file is not a "
                "keystore of version 3"
            ) from None

    def to_keystore(self, password: str, iterations: int | None = None) -> dict[str, Any]:
        """The encrypted key, for a file. With scrypt's default `iterations`, each guess takes a
        second."""
        return dict(self.__account.encrypt(password, iterations=iterations))

    def sign(self, transaction: dict[str, Any]) -> tuple[bytes, bytes]:
        """A transaction's signed bytes, and its hash."""
        signed = self.__account.sign_transaction(transaction)
        return bytes(signed.raw_transaction), bytes(signed.hash)

    def __repr__(self) -> str:
        return f"EvmKey({self.address})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("an EVM key is not pickled")


def compute_mirror(address: str) -> str:
    """The subtensor account with an EVM address's money, SS58: send TAO there."""
    raw = bytes.fromhex(address.removeprefix("0x"))
    return encode_ss58(blake2b(_MIRROR_PREFIX + raw, digest_size=32).digest())
