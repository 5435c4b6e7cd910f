"""One-time actions: deploying the contracts, and binding a hotkey to the key that posts for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from assay.network.chain.errors import ChainError
from assay.network.evm.contracts import LEDGER, WEIGHTS_CHECK, load_artifact
from assay.network.evm.key import EvmKey
from assay.network.evm.node import EvmCall, EvmNode, EvmReceipt
from assay.network.evm.score_ledger import ScoreLedger
from assay.protocol.score_tree import keccak256

#: Most gas of a deployment and of a binding. The chain sets a precompile's share of the latter.
DEPLOY_GAS_MAX, BIND_GAS_MAX = 2_000_000, 500_000
#: First field of the binding that a hotkey signs, so that the signature is valid for nothing else.
_DOMAIN = keccak256(b"assay/v1/evm-binding")
#: Seconds for which a signature is valid, and for which a transaction is waited for.
SIGNATURE_S, PATIENCE_S = 900, 300.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """Addresses of both contracts, and the receipts of their deployment."""

    ledger: str
    weights_check: str
    receipts: tuple[EvmReceipt, EvmReceipt]


def deploy_contracts(node: EvmNode, key: EvmKey, confirmations: int) -> Deployed:
    """Deploy a ledger, and a weights' check over it. Anybody may: they have no owner. `EvmError`:
    too expensive, or refused. `UnknownOutcomeError`: it was sent and is not on chain."""
    node.require_chain()
    ledger, first = _deploy(node, key, LEDGER, [], confirmations)
    check, second = _deploy(node, key, WEIGHTS_CHECK, [ledger], confirmations)
    return Deployed(ledger, check, (first, second))


def _deploy(
    node: EvmNode, key: EvmKey, name: str, arguments: list[Any], confirmations: int
) -> tuple[str, EvmReceipt]:
    """Deploy a contract. Its address is computed: a node that named another one would make us use a
    foreign contract."""
    from web3.utils import get_create_address

    data = node.open_contract(load_artifact(name)).constructor(*arguments).data_in_transaction
    call = EvmCall(None, bytes.fromhex(str(data).removeprefix("0x")), DEPLOY_GAS_MAX)
    nonce = node.get_nonce(key.address, pending=True)
    receipt = _run(node, key, call, nonce, confirmations)
    address = str(get_create_address(key.address, nonce))  # type: ignore[arg-type]
    node.require_code(address)
    return address, receipt


def bind_hotkey(
    ledger: ScoreLedger,
    key: EvmKey,
    hotkey: bytes,
    sign: Callable[[bytes], bytes],
    confirmations: int,
) -> EvmReceipt:
    """Let a key post for a hotkey, instead of any earlier one, with the hotkey's sr25519 signature
    over the 32 bytes. Errors as in `deploy_contracts`."""
    node = ledger.node
    node.require_chain()
    node.require_code(ledger.address)
    expiry = node.get_time() + SIGNATURE_S
    nonce = ledger.get_binding(hotkey).nonce
    message = compute_binding_message(
        ledger.address, node.chain_id, hotkey, key.address, nonce, expiry
    )
    signature = sign(message)
    if len(signature) != 64:
        raise ChainError("the wallet's hotkey gave no sr25519 signature: is it an sr25519 key?")
    contract = node.open_contract(load_artifact(LEDGER), ledger.address)
    data = contract.encode_abi("bind", [hotkey, expiry, signature[:32], signature[32:]])
    call = EvmCall(contract.address, bytes.fromhex(data[2:]), BIND_GAS_MAX)
    number = node.get_nonce(key.address, pending=True)
    return _run(node, key, call, number, confirmations)


def compute_binding_message(
    contract: str, chain_id: int, hotkey: bytes, poster: str, nonce: int, expiry: int
) -> bytes:
    """The message that a hotkey signs to let an EVM address post for it: keccak256 of the ABI's
    encoding of domain, contract, chain, hotkey, poster, nonce, expiry.

    Args:
        contract, poster: addresses, 0x and 40 digits.
        nonce: number of earlier bindings of the hotkey.
        expiry: Unix time in seconds.

    Returns:
        32 bytes, signed without further hashing.
    """
    words = [_DOMAIN, _word(int(contract, 16)), _word(chain_id), hotkey, _word(int(poster, 16))]
    return keccak256(b"".join([*words, _word(nonce), _word(expiry)]))


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _run(node: EvmNode, key: EvmKey, call: EvmCall, nonce: int, confirmations: int) -> EvmReceipt:
    """Send one transaction and wait for its receipt."""
    signed = node.sign(key, call, nonce)
    node.send(signed)
    return node.await_receipt(signed, confirmations, PATIENCE_S)
