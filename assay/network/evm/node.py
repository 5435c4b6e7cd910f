"""A node of one EVM chain, with the chain pinned, gas and price bounded, and refusals explained.

It does not know finality. A block is final enough once others have been built on it. The caller
chooses how many.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from assay.network.chain.errors import UnknownOutcomeError, WrongChainError
from assay.network.evm.contracts import (
    Artifact,
    EvmError,
    RevertedError,
    SilentError,
    explain_revert,
)
from assay.network.evm.key import EvmKey
from assay.protocol.encoding import U64, U128, Digest, Prefixed

#: Chain ids of subtensor's networks.
CHAIN_IDS = {"finney": 964, "test": 945, "local": 42}
#: Wei in a gwei; 10^9 gwei are one TAO.
GWEI = 10**9
#: Gas above the estimate, hundredths: the state may have changed by the time of execution.
_GAS_MARGIN = 125
#: Price above the node's, hundredths; and a replacement's price relative to the first: nodes accept
#: 110 and more.
_PRICE_MARGIN, _BUMP = 110, 125
_LOOK_S = 0.25
#: Upper limits of any number of blocks, transactions, gas, seconds or wei a unit, and of any
#: balance.
_COUNT_END, _WEI_END = 1 << 63, 1 << 256
#: JSON-RPC's words for a transaction that the node holds already.
_KNOWN = ("already known", "already imported", "known transaction")


@dataclass(frozen=True, slots=True)
class EvmReceipt:
    """The result of a transaction. `gas_price` in wei."""

    hash: bytes
    block: int
    succeeded: bool
    gas_used: int
    gas_price: int
    contract: str | None = None

    @property
    def cost(self) -> int:
        """The cost, wei."""
        return self.gas_used * self.gas_price


@dataclass(frozen=True, slots=True)
class SignedCall:
    """A signed transaction, which may be sent any number of times: a chain accepts it once. `price`
    is in wei."""

    raw: Annotated[bytes, Prefixed(1 << 20)]
    hash: Digest
    nonce: U64
    price: U128


@dataclass(frozen=True, slots=True)
class EvmCall:
    """A transaction's content. `to` is None for a deployment. `gas_max` bounds its gas."""

    to: str | None
    data: bytes
    gas_max: int

    def describe(self, sender: str) -> dict[str, Any]:
        """The call as JSON-RPC takes it."""
        to = {} if self.to is None else {"to": self.to}
        return {"from": sender, "data": "0x" + self.data.hex(), "value": 0} | to


class EvmNode:
    """One node over JSON-RPC. Used from one thread at a time.

    Args:
        chain_id: the id that its chain must have.
        price_max: wei a unit of gas; nothing is sent for more.

    Raises:
        EvmError: from every method: no node answers, or it answers nonsense.
    """

    def __init__(self, endpoint: str, chain_id: int, price_max: int = 100 * GWEI) -> None:
        from web3 import Web3

        from assay.network.evm.bounded_provider import BoundedProvider

        self.chain_id = chain_id
        self._price_max = price_max
        self._provider = BoundedProvider(endpoint)
        self.eth = Web3(self._provider, middleware=[]).eth

    def _count(self, ask: Callable[[], Any], end: int = _COUNT_END) -> int:
        with self.explain():
            return _read_count(ask(), end)

    def close(self) -> None:
        """Close the connection."""
        self._provider.close()

    def require_chain(self) -> None:
        """Raise `WrongChainError` if the node is of another chain."""
        served = self._count(lambda: self.eth.chain_id)
        if served != self.chain_id:
            raise WrongChainError(
                f"EVM node {self._provider.name} serves chain {served}, and settings name "
                f"{self.chain_id}: correct the endpoint or the chain"
            )

    def get_head(self) -> int:
        """The number of the newest block, after `require_chain`."""
        self.require_chain()
        return self._count(lambda: self.eth.block_number)

    def get_time(self) -> int:
        """Timestamp of the newest block, Unix seconds."""
        return self._count(lambda: self.eth.get_block("latest")["timestamp"])

    def get_balance(self, address: str) -> int:
        """A balance, wei."""
        return self._count(lambda: self.eth.get_balance(_checksum(address)), _WEI_END)

    def get_nonce(self, address: str, *, pending: bool) -> int:
        """The number of the address's next transaction, with or without pending ones."""
        block: Any = "pending" if pending else "latest"
        return self._count(lambda: self.eth.get_transaction_count(_checksum(address), block))

    def get_price(self) -> int:
        """The node's current price for a unit of gas, wei."""
        return self._count(lambda: self.eth.gas_price)

    def get_receipt(self, hash_: bytes) -> EvmReceipt | None:
        """The receipt of a transaction; None while no block of the node's chain holds it."""
        from web3.exceptions import TransactionNotFound

        with self.explain():
            try:
                receipt = self.eth.get_transaction_receipt(hash_)  # type: ignore[arg-type]
            except TransactionNotFound:
                return None
            return EvmReceipt(
                hash_,
                _read_count(receipt["blockNumber"]),
                receipt["status"] == 1,
                _read_count(receipt["gasUsed"]),
                _read_count(receipt["effectiveGasPrice"]),
                receipt.get("contractAddress"),
            )

    def open_contract(self, artifact: Artifact, address: str | None = None) -> Any:
        """A contract's functions, as web3 offers them; call them within `explain`."""
        to = None if address is None else _checksum(address)
        return self.eth.contract(to, abi=artifact.abi, bytecode=artifact.bytecode)

    def require_code(self, address: str) -> None:
        """Raise an `EvmError` if the address has no contract."""
        with self.explain():
            if not self.eth.get_code(_checksum(address)):
                raise EvmError(f"there is no contract at {address} on chain {self.chain_id}")

    def sign(
        self, key: EvmKey, call: EvmCall, nonce: int, replaces: int | None = None
    ) -> SignedCall:
        """Sign a call that would succeed now. `replaces` is the price in wei of an earlier call
        with this nonce. `RevertedError`: the contract would refuse it. `EvmError`: too much gas,
        too expensive, or too little money."""
        gas = self._estimate(key, call)
        price = self.get_price() * _PRICE_MARGIN // 100
        if replaces is not None:
            price = max(price, replaces * _BUMP // 100)
        if price > self._price_max:
            raise EvmError(
                f"gas costs {price / GWEI:g} gwei, and settings allow {self._price_max / GWEI:g}: "
                "wait, or raise max_gas_price under [ledger]"
            )
        self._require_money(key, gas * price)
        fields = call.describe(key.address) | {
            "gas": gas,
            "gasPrice": price,
            "nonce": nonce,
            "chainId": self.chain_id,
        }
        del fields["from"]
        raw, hash_ = key.sign(fields)
        return SignedCall(raw, hash_, nonce, price)

    def _estimate(self, key: EvmKey, call: EvmCall) -> int:
        described: Any = call.describe(key.address)
        estimate = self._count(lambda: self.eth.estimate_gas(described))
        gas = estimate * _GAS_MARGIN // 100
        if gas > call.gas_max:
            raise EvmError(
                f"the call would take {gas:,} gas, and at most {call.gas_max:,} is spent"
            )
        return gas

    def _require_money(self, key: EvmKey, cost: int) -> None:
        held = self.get_balance(key.address)
        if held < cost:
            raise EvmError(
                f"{key.address} has {format_wei(held)} and this may take {format_wei(cost)}: send "
                "TAO to its account, which `assay ledger key` names"
            )

    def send(self, signed: SignedCall) -> None:
        """Send a transaction to the node, which may have it already. `EvmError`: refused.
        `UnknownOutcomeError`: it may have been accepted."""
        try:
            with self.explain():
                self.eth.send_raw_transaction(signed.raw)
        except SilentError as error:
            raise UnknownOutcomeError(str(error)) from error
        except EvmError as error:
            if not any(words in str(error).lower() for words in _KNOWN):
                raise

    def await_receipt(
        self, signed: SignedCall, confirmations: int, patience_s: float
    ) -> EvmReceipt:
        """Wait until a transaction is in a block with this many blocks on top. `RevertedError`: it
        failed. `UnknownOutcomeError`: it did not get there within the patience."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            receipt = self._find_standing(signed, confirmations)
            if receipt is not None:
                if not receipt.succeeded:
                    raise RevertedError(f"0x{signed.hash.hex()}: {self.explain_failure(signed)}")
                return receipt
            time.sleep(_LOOK_S)
        raise UnknownOutcomeError(
            f"0x{signed.hash.hex()} did not get {confirmations} confirmations within "
            f"{patience_s:g} s: look for it in an explorer before sending it again"
        )

    def _find_standing(self, signed: SignedCall, confirmations: int) -> EvmReceipt | None:
        """The receipt of a transaction that is deep enough, or None. A node that gives no answer is
        asked again, since the transaction is under way."""
        try:
            receipt = self.get_receipt(signed.hash)
            deep = receipt is not None and self.get_head() - receipt.block >= confirmations
        except SilentError:
            return None
        return receipt if deep else None

    def explain_failure(self, signed: SignedCall) -> str:
        """The reason why a transaction in a block failed, as far as the node says. The node may
        have forgotten the block's state, or answer nonsense."""
        try:
            with self.explain():
                return self._find_reason(signed)
        except RevertedError as error:
            return str(error)
        except EvmError as error:
            return f"it failed for an unknown reason: {error}"

    def _find_reason(self, signed: SignedCall) -> str:
        sent = self.eth.get_transaction(signed.hash)  # type: ignore[arg-type]
        receipt = self.eth.get_transaction_receipt(signed.hash)  # type: ignore[arg-type]
        if receipt["gasUsed"] >= sent["gas"]:
            return f"out of gas: it used all {sent['gas']:,}"
        again = {name: sent[name] for name in ("from", "to", "value") if sent.get(name) is not None}
        self.eth.call(again | {"data": sent["input"]}, receipt["blockNumber"])  # type: ignore[arg-type]
        return "it failed, but would succeed now"

    @contextmanager
    def explain(self) -> Iterator[None]:
        """Raise web3's errors as ours."""
        from web3.exceptions import (
            BadFunctionCallOutput,
            ContractLogicError,
            Web3Exception,
            Web3RPCError,
        )

        try:
            yield
        except ContractLogicError as error:
            raise explain_revert(_read_data(error.data)) from None
        except Web3RPCError as error:
            # nodes put a contract's return data in different places
            answer: Any = (error.rpc_response or {}).get("error")
            details = answer if isinstance(answer, dict) else {}
            data = _read_data(details.get("data"))
            if data:
                raise explain_revert(data) from None
            message = str(details.get("message", error.message))[:200]
            raise EvmError(f"EVM node {self._provider.name} says: {message}") from None
        except BadFunctionCallOutput:
            raise EvmError(
                f"no contract of Assay is at that address on chain {self.chain_id}: correct it"
            ) from None
        except (Web3Exception, KeyError, TypeError, ValueError) as error:
            raise SilentError(
                f"EVM node {self._provider.name} sent nonsense: {str(error)[:200]}"
            ) from error


def format_wei(wei: int) -> str:
    """An EVM amount for people: 10^18 wei are one TAO."""
    return f"{wei / 10**18:.6f} TAO"


def _read_data(data: Any) -> bytes:
    """A contract's return data, from an error's data."""
    if isinstance(data, dict):
        data = data.get("data") or data.get("result")
    if not isinstance(data, str) or not data.startswith("0x"):
        return b""
    try:
        return bytes.fromhex(data[2:])
    except ValueError:
        return b""


def _read_count(value: Any, end: int = _COUNT_END) -> int:
    """A number from a node (blocks, gas, wei, seconds). `TypeError`: not a valid count."""
    if type(value) is not int or not 0 <= value < end:
        raise TypeError(f"{value!r} is not a count")
    return value


def _checksum(address: str) -> Any:
    """An address in web3's form."""
    from eth_utils.address import is_address, to_checksum_address

    if not is_address(address):
        raise EvmError(f"{address!r} is not an address: write 0x and 40 hexadecimal digits")
    return to_checksum_address(address)
