"""substrate-interface and async-substrate-interface from PyPI, unmodified; each in its own Python.

python substrate_flows.py ENDPOINT prints one JSON document a flow.
"""

import asyncio
import importlib.util
import json
import sys
from collections.abc import Callable
from typing import Any

BOB = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
TRANSFER = ("Balances", "transfer_keep_alive", {"dest": BOB, "value": 1_000_000})
IS_ASYNC = importlib.util.find_spec("async_substrate_interface") is not None
CLIENT = "async-substrate-interface" if IS_ASYNC else "substrate-interface"


def tell(flow: str, run: Callable[[], Any]) -> None:
    """Runs a flow and prints whether it works, or the client's words."""
    words = ""
    try:
        run()
    except Exception as error:  # noqa: BLE001 - whatever the client says is the result
        words = f"{type(error).__name__}: {error}".splitlines()[0]
    found = {"client": CLIENT, "flow": flow, "works": not words, "words": words}
    print(json.dumps(found), flush=True)


def check(holds: object, words: str) -> None:
    if not holds:
        raise RuntimeError(words)


def make_alice() -> Any:
    if IS_ASYNC:
        from bittensor_wallet import Keypair  # type: ignore[import-not-found]
    else:
        from substrateinterface import Keypair  # type: ignore[import-not-found]
    return Keypair.create_from_uri("//Alice")


def run_sync(endpoint: str, transport: str) -> None:
    from substrateinterface import SubstrateInterface

    alice, made = make_alice(), []
    tell(f"connect by {transport}", lambda: made.append(SubstrateInterface(url=endpoint)))
    if not made:
        return
    chain = made[0]

    def read_storage() -> None:
        free = chain.query("System", "Account", [alice.ss58_address]).value["data"]["free"]
        check(free > 0, "//Alice has nothing")

    def read_map() -> None:
        found = list(chain.query_map("SubtensorModule", "NetworksAdded", page_size=100))
        check(len(found) > 1, "no subnet")

    def compose() -> Any:
        module, function, arguments = TRANSFER
        return chain.compose_call(module, function, arguments)

    def quote() -> None:
        check(chain.get_payment_info(compose(), alice)["partialFee"] > 0, "the fee is zero")

    def submit() -> None:
        signed = chain.create_signed_extrinsic(compose(), alice)
        receipt = chain.submit_extrinsic(signed, wait_for_inclusion=True)
        check(receipt.is_success, str(receipt.error_message))

    tell(f"storage by {transport}", read_storage)
    tell(f"storage map by {transport}", read_map)
    tell(f"fee by {transport}", quote)
    if transport == "websocket":
        tell("transfer, waits for its block", submit)
    chain.close()


async def run_async(endpoint: str) -> None:
    from async_substrate_interface import AsyncSubstrateInterface  # type: ignore[import-not-found]

    alice = make_alice()
    chain = AsyncSubstrateInterface(endpoint, ss58_format=42)

    async def compose() -> Any:
        module, function, arguments = TRANSFER
        return await chain.compose_call(module, function, arguments)

    async def connect() -> None:
        await chain.initialize()

    async def read_storage() -> None:
        found = await chain.query("System", "Account", [alice.ss58_address])
        account = getattr(found, "value", found)
        check(account["data"]["free"] > 0, "//Alice has nothing")

    async def read_map() -> None:
        found = await chain.query_map("SubtensorModule", "NetworksAdded")
        check(len([key async for key, _ in found]) > 1, "no subnet")

    async def call_runtime() -> None:
        found = await chain.runtime_call("SubnetInfoRuntimeApi", "get_dynamic_info", [1])
        check(getattr(found, "value", found), "subnet 1 has no description")

    async def quote() -> None:
        found = await chain.get_payment_info(await compose(), alice)
        check(found["partial_fee"] > 0, "the fee is zero")

    async def submit() -> None:
        signed = await chain.create_signed_extrinsic(await compose(), alice)
        receipt = await chain.submit_extrinsic(signed, wait_for_inclusion=True)
        check(await receipt.is_success, "it failed")

    for flow, run in {
        "connect": connect,
        "storage": read_storage,
        "storage map": read_map,
        "runtime call": call_runtime,
        "fee": quote,
        "transfer, waits for its block": submit,
    }.items():
        words = ""
        try:
            await asyncio.wait_for(run(), 60)
        except Exception as error:  # noqa: BLE001 - whatever the client says is the result
            words = f"{type(error).__name__}: {error}".splitlines()[0]
        found = {"client": CLIENT, "flow": flow, "works": not words, "words": words}
        print(json.dumps(found), flush=True)
    await chain.close()


if __name__ == "__main__":
    if IS_ASYNC:
        asyncio.run(run_async(sys.argv[1]))
    else:
        run_sync(sys.argv[1], "websocket")
        run_sync(sys.argv[1].replace("ws://", "http://"), "HTTP")
