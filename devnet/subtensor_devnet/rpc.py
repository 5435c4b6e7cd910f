"""The JSON-RPC methods of a substrate node, as far as clients use them, and the network's own.

Each takes its parameters and gives a result; none waits. Source: polkadot-sdk,
substrate/client/rpc.
"""

from collections.abc import Callable, Sequence
from typing import Any

from subtensor_devnet.chain import DevnetChain
from subtensor_devnet.errors import MalformedError, RpcError
from subtensor_devnet.metadata import SPEC_NAME, SPEC_VERSION, TRANSACTION_VERSION
from subtensor_devnet.runtime_apis import RUNTIME_APIS, RuntimeApis
from subtensor_devnet.scale import hash_blake2

#: Blocks that one request may have made.
_MOST_BLOCKS = 10_000
#: Keys that one request may ask for, as nodes have it.
_MOST_KEYS = 1_000
#: Keys that an answer without pages holds. A node has no limit.
_MOST_UNPAGED_KEYS = 100_000
_MOST_QUERIES = 16_384


#: Method that subscribes → method that unsubscribes. The server serves them.
SUBSCRIPTIONS = {
    "author_submitAndWatchExtrinsic": "author_unwatchExtrinsic",
    "chain_subscribeAllHeads": "chain_unsubscribeAllHeads",
    "chain_subscribeFinalisedHeads": "chain_unsubscribeFinalisedHeads",
    "chain_subscribeFinalizedHeads": "chain_unsubscribeFinalizedHeads",
    "chain_subscribeNewHead": "chain_unsubscribeNewHead",
    "chain_subscribeNewHeads": "chain_unsubscribeNewHeads",
    "state_subscribeRuntimeVersion": "state_unsubscribeRuntimeVersion",
    "state_subscribeStorage": "state_unsubscribeStorage",
}


class RpcMethods:
    """All methods that need no subscription; `seal` makes so many blocks at once, `set_time` has
    the next one be of a time, Unix milliseconds, and `legacy` is metadata of format 14."""

    def __init__(
        self,
        chain: DevnetChain,
        apis: RuntimeApis,
        seal: Callable[[int], int],
        set_time: Callable[[int], None],
        legacy: bytes,
    ) -> None:
        self._chain = chain
        self._apis = apis
        self._seal = seal
        self._set_time = set_time
        self._legacy_metadata = "0x" + legacy.hex()
        self.table: dict[str, Callable[[Sequence[Any]], Any]] = {
            "account_nextIndex": self._get_nonce,
            "author_pendingExtrinsics": lambda _: [_hex(raw) for raw in chain.pool.list_raw()],
            "author_submitExtrinsic": self._submit,
            "chain_getBlock": self._get_block,
            "chain_getBlockHash": self._get_block_hash,
            "chain_getFinalizedHead": lambda _: _hex(chain.get_hash(chain.final_number)),
            "chain_getFinalisedHead": lambda _: _hex(chain.get_hash(chain.final_number)),
            "chain_getHead": lambda _: _hex(chain.head.hash),
            "chain_getHeader": self._get_header,
            "dev_addPulse": self._add_pulse,
            "dev_newBlock": self._make_blocks,
            "dev_setStorage": lambda params: self.set_storage(_get(params, 0)),
            "dev_setTime": self._move_time,
            "rpc_methods": lambda _: {"methods": self._names},
            "state_call": self._call_runtime,
            "state_getKeys": self._list_all_keys,
            "state_getKeysPaged": self._list_keys,
            "state_getMetadata": lambda _: self._legacy_metadata,
            "state_getRuntimeVersion": lambda _: RUNTIME_VERSION,
            "state_getStorage": self._get_storage,
            "state_getStorageAt": self._get_storage,
            "state_getStorageHash": self._get_storage_hash,
            "state_getStorageSize": self._get_storage_size,
            "state_queryStorageAt": self._query_storage,
            "system_accountNextIndex": self._get_nonce,
            "system_chain": lambda _: "Subtensor devnet",
            "system_chainType": lambda _: "Development",
            "system_health": lambda _: {"peers": 0, "isSyncing": False, "shouldHavePeers": False},
            "system_name": lambda _: "subtensor-devnet",
            "system_properties": lambda _: {
                "ss58Format": 42,
                "tokenDecimals": 9,
                "tokenSymbol": "TAO",
            },
            "system_version": lambda _: str(SPEC_VERSION),
        }
        self._names = sorted({*self.table, *SUBSCRIPTIONS, *SUBSCRIPTIONS.values()})

    def _get_block_hash(self, params: Sequence[Any]) -> Any:
        """A block's hash by its number; the newest's without one; a list's by a list."""
        number = _get(params, 0)
        if isinstance(number, list):
            return [_hex(self._chain.get_hash(_read_number(one))) for one in number[:_MOST_KEYS]]
        if number is None:
            return _hex(self._chain.head.hash)
        return _hex(self._chain.get_hash(_read_number(number)))

    def _get_header(self, params: Sequence[Any]) -> Any:
        block = self._chain.find_block(_read_hash(_get(params, 0)))
        return None if block is None else block.header.to_json()

    def _get_block(self, params: Sequence[Any]) -> Any:
        block = self._chain.find_block(_read_hash(_get(params, 0)))
        if block is None:
            return None
        extrinsics = [_hex(extrinsic) for extrinsic in block.extrinsics]
        body = {"header": block.header.to_json(), "extrinsics": extrinsics}
        return {"block": body, "justifications": None}

    def _get_storage(self, params: Sequence[Any]) -> Any:
        return _hex(self._read(params))

    def _get_storage_hash(self, params: Sequence[Any]) -> Any:
        value = self._read(params)
        return None if value is None else _hex(hash_blake2(value))

    def _get_storage_size(self, params: Sequence[Any]) -> Any:
        value = self._read(params)
        return None if value is None else len(value)

    def _query_storage(self, params: Sequence[Any]) -> Any:
        keys = _get(params, 0)
        if not isinstance(keys, list) or len(keys) > _MOST_QUERIES:
            raise RpcError(-32602, f"Invalid params: at most {_MOST_QUERIES} keys, in a list")
        number = self._chain.find_number(_read_hash(_get(params, 1)))
        changes = [[key, _hex(self._chain.read_state(_read_hex(key), number))] for key in keys]
        return [{"block": _hex(self._chain.get_hash(number)), "changes": changes}]

    def _list_keys(self, params: Sequence[Any]) -> Any:
        prefix, count = _read_hex(_get(params, 0) or "0x"), _read_number(_get(params, 1) or 0)
        if count > _MOST_KEYS:
            raise RpcError(-32602, f"Invalid params: at most {_MOST_KEYS} keys")
        after = _read_hex(_get(params, 2) or "0x")
        number = self._chain.find_number(_read_hash(_get(params, 3)))
        return [_hex(key) for key in self._chain.list_keys(prefix, after, count, number)]

    def _list_all_keys(self, params: Sequence[Any]) -> Any:
        prefix = _read_hex(_get(params, 0) or "0x")
        number = self._chain.find_number(_read_hash(_get(params, 1)))
        keys = self._chain.list_keys(prefix, b"", _MOST_UNPAGED_KEYS + 1, number)
        if len(keys) > _MOST_UNPAGED_KEYS:
            raise RpcError(
                -32602, f"Invalid params: more than {_MOST_UNPAGED_KEYS} keys; use pages"
            )
        return [_hex(key) for key in keys]

    def _call_runtime(self, params: Sequence[Any]) -> Any:
        number = self._chain.find_number(_read_hash(_get(params, 2)))
        data = _read_hex(_get(params, 1) or "0x")
        return _hex(self._apis.call(str(_get(params, 0)), data, self._chain.view(number)))

    def _read(self, params: Sequence[Any]) -> bytes | None:
        number = self._chain.find_number(_read_hash(_get(params, 1)))
        return self._chain.read_state(_read_hex(_get(params, 0)), number)

    def _get_nonce(self, params: Sequence[Any]) -> Any:
        try:
            return self._chain.get_next_nonce(str(_get(params, 0)))
        except MalformedError as error:
            raise RpcError(-32602, "Invalid params: no account") from error

    def _submit(self, params: Sequence[Any]) -> Any:
        return _hex(self._chain.submit(_read_hex(_get(params, 0)), None).hash)

    def _make_blocks(self, params: Sequence[Any]) -> Any:
        """Makes `count` blocks at once. The last one's hash."""
        options = _get(params, 0) or {}
        count = _read_number(options.get("count", 1) if isinstance(options, dict) else options)
        if count > _MOST_BLOCKS:
            raise RpcError(-32602, f"Invalid params: at most {_MOST_BLOCKS} blocks")
        self._seal(count)
        return _hex(self._chain.head.hash)

    def _move_time(self, params: Sequence[Any]) -> Any:
        """Sets the next block's timestamp, Unix milliseconds."""
        self._set_time(_read_number(_get(params, 0)))
        return True

    def _add_pulse(self, params: Sequence[Any]) -> Any:
        return self._chain.add_pulse(_read_number(_get(params, 0)), _read_hex(_get(params, 1)))

    def set_storage(self, values: Any) -> Any:
        """Writes into the newest block's state: keys and values in hex, or by name as
        {pallet: {item: value}} for what has no keys and {pallet: {item: [[keys, value], …]}}."""
        if isinstance(values, list) and all(isinstance(v, list) and len(v) == 2 for v in values):
            changes: dict[bytes, bytes | None] = {
                _read_hex(key): _read_hex(value) for key, value in values
            }
        elif isinstance(values, dict):
            changes = self._encode_storage(values)
        else:
            form = "[[key, value], …] in hex, or {pallet: {item: value}}"
            raise RpcError(-32602, f"Invalid params: storage to write is {form}")
        self._chain.write_storage(changes)
        return _hex(self._chain.head.hash)

    def _encode_storage(self, values: dict[str, Any]) -> dict[bytes, bytes | None]:
        codec, changes = self._chain.codec, {}
        try:
            for pallet, items in values.items():
                for item, value in items.items():
                    name = codec.find_item(pallet, item)
                    is_map = codec.is_map(*name)
                    for keys, entry in value if is_map else [([], value)]:
                        changes[codec.make_key(*name, *keys)] = (
                            None if entry is None else codec.encode_value(*name, entry)
                        )
        except (MalformedError, AttributeError, TypeError, ValueError) as error:
            raise RpcError(-32602, f"Invalid params: {error}") from error
        return changes


RUNTIME_VERSION = {
    "specName": SPEC_NAME,
    "implName": SPEC_NAME,
    "authoringVersion": 1,
    "specVersion": SPEC_VERSION,
    "implVersion": 1,
    "apis": RUNTIME_APIS,
    "transactionVersion": TRANSACTION_VERSION,
    "stateVersion": 1,
}


def _get(params: Sequence[Any], index: int) -> Any:
    return params[index] if index < len(params) else None


def _hex(data: bytes | None) -> str | None:
    return None if data is None else "0x" + data.hex()


def _read_hex(text: Any) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except (AttributeError, ValueError) as error:
        raise RpcError(-32602, f"Invalid params: {str(text)[:40]!r} is not hex") from error


def _read_hash(text: Any) -> bytes | None:
    return None if text is None else _read_hex(text)


def _read_number(value: Any) -> int:
    try:
        number = int(value, 0) if isinstance(value, str) else int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RpcError(-32602, f"Invalid params: {str(value)[:40]!r} is not a number") from error
    if not 0 <= number < 2**63:
        raise RpcError(-32602, "Invalid params: the number is out of range")
    return number
