"""substrate-interface or async-substrate-interface from PyPI, unmodified, each in its own Python.

    python substrate_flows.py ENDPOINT NETUID HOTKEY SENDER RECEIVER

SENDER is a development URI with money, RECEIVER an address without. One JSON document a flow: what
was found, to be compared with the chain, or the client's words.
"""

import asyncio
import importlib.util
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

PATIENCE_S = 60
IS_ASYNC = importlib.util.find_spec("async_substrate_interface") is not None
if IS_ASYNC:
    from async_substrate_interface import AsyncSubstrateInterface
    from bittensor_wallet import Keypair
else:
    from substrateinterface import Keypair, SubstrateInterface
ENDPOINT, NETUID, HOTKEY, SENDER, RECEIVER = sys.argv[1:]
PAYMENT = ("Balances", "transfer_keep_alive", {"dest": RECEIVER, "value": 200_000_000})


def tell(flow: str, found: object = None, words: str = "") -> None:
    print(json.dumps({"flow": flow, "found": found, "words": words}), flush=True)


def describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def get_value(found: Any) -> Any:
    """The value within either client's wrapper."""
    return getattr(found, "value", found)


def run_sync() -> None:
    payer = Keypair.create_from_uri(SENDER)
    # this client takes amounts for u128 unless told; subtensor's are u64
    chain = SubstrateInterface(url=ENDPOINT, type_registry={"types": {"Balance": "u64"}})

    def storage() -> Any:
        return chain.query("SubtensorModule", "Uids", [int(NETUID), HOTKEY]).value

    def storage_map() -> Any:
        found = chain.query_map("SubtensorModule", "NetworksAdded", page_size=100)
        return [[key.value, value.value] for key, value in found]

    def fee() -> Any:
        return chain.get_payment_info(chain.compose_call(*PAYMENT), payer)["partialFee"]

    def heads() -> Any:
        heard: list[Any] = []

        def hear(update: Any, *_: Any) -> Any:
            header = update["header"]
            if [head["number"] for head in heard] != [header["number"]]:  # not the first once more
                heard.append({"number": header["number"], "parent": header["parentHash"]})
            return heard if len(heard) == 2 else None

        return chain.subscribe_block_headers(hear)

    def transfer() -> Any:
        signed = chain.create_signed_extrinsic(chain.compose_call(*PAYMENT), payer)
        receipt = chain.submit_extrinsic(signed, wait_for_finalization=True)
        if not receipt.is_success:
            raise RuntimeError(receipt.error_message)
        return {"block": receipt.block_hash, "fee": receipt.total_fee_amount}

    flows: dict[str, Callable[[], Any]] = {
        "connect": lambda: {"genesis": chain.get_block_hash(0), "chain": chain.chain},
        "storage": storage,
        "storage map": storage_map,
        "fee": fee,
    }
    if ENDPOINT.startswith("ws"):
        flows |= {"subscribe to heads": heads, "transfer": transfer}
    for name, run in flows.items():
        try:
            tell(name, run())
        except Exception as error:  # noqa: BLE001 - whatever the client says is the result
            tell(name, words=describe(error))


async def run_async() -> None:
    payer = Keypair.create_from_uri(SENDER)
    chain = AsyncSubstrateInterface(ENDPOINT, ss58_format=42)

    async def connect() -> Any:
        await chain.initialize()
        return {"genesis": await chain.get_block_hash(0), "chain": chain.chain}

    async def storage() -> Any:
        return get_value(await chain.query("SubtensorModule", "Uids", [int(NETUID), HOTKEY]))

    async def storage_map() -> Any:
        found = await chain.query_map("SubtensorModule", "NetworksAdded")
        return [[get_value(key), get_value(value)] async for key, value in found]

    async def runtime_call() -> Any:
        api = ("SubnetInfoRuntimeApi", "get_subnet_hyperparams")
        return get_value(await chain.runtime_call(*api, [int(NETUID)]))

    async def fee() -> Any:
        call = await chain.compose_call(*PAYMENT)
        return (await chain.get_payment_info(call, payer))["partial_fee"]

    async def transfer() -> Any:
        signed = await chain.create_signed_extrinsic(await chain.compose_call(*PAYMENT), payer)
        receipt = await chain.submit_extrinsic(signed, wait_for_finalization=True)
        if not await receipt.is_success:
            raise RuntimeError(await receipt.error_message)
        return {"block": receipt.block_hash, "fee": await receipt.total_fee_amount}

    flows: dict[str, Callable[[], Awaitable[Any]]] = {
        "connect": connect,
        "storage": storage,
        "storage map": storage_map,
        "runtime call": runtime_call,
        "fee": fee,
        "transfer": transfer,
    }
    for name, run in flows.items():
        try:
            tell(name, await asyncio.wait_for(run(), PATIENCE_S))
        except Exception as error:  # noqa: BLE001 - whatever the client says is the result
            tell(name, words=describe(error))
    await chain.close()


if __name__ == "__main__":
    if IS_ASYNC:
        asyncio.run(run_async())
    else:
        run_sync()
