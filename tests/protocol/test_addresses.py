"""Addresses of other networks: their prefix, compared with the same key's address here."""

import pytest
from bittensor.sp_core import Keypair

from assay.protocol.ss58 import decode_ss58, encode_ss58

KEYS = (bytes(32), bytes(range(32)), b"\xff" * 32)


@pytest.mark.parametrize("prefix", [0, 1, 2, 41, 43, 63, 64, 255, 256, 1_284, 16_383])
@pytest.mark.parametrize("key", KEYS)
def test_another_networks_address_is_called_one(prefix: int, key: bytes) -> None:
    address = Keypair(public_key=key, ss58_format=prefix).ss58_address
    with pytest.raises(ValueError, match=rf"of another network: it has prefix {prefix}, not 42; "):
        decode_ss58(address)
    with pytest.raises(ValueError, match=f"the same key's address is {encode_ss58(key)}$"):
        decode_ss58(address)
    other = address[:-1] + ("2" if address[-1] == "1" else "1")
    with pytest.raises(ValueError, match=r"is not an SS58 address|has a wrong checksum"):
        decode_ss58(other)


@pytest.mark.parametrize("key", KEYS)
def test_an_address_here_is_the_sdks_own(key: bytes) -> None:
    address = encode_ss58(key)
    assert Keypair(public_key=key).ss58_address == address
    assert decode_ss58(address) == key


@pytest.mark.parametrize("text", ["", "5Grw", "z" * 48, "z" * 50, "1" * 48, "5" * 1_000_000, "é"])
def test_an_invalid_address_has_a_short_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an SS58 address|has a wrong checksum") as caught:
        decode_ss58(text)
    assert len(str(caught.value)) < 200
