"""Blocks whose state the nodes have pruned: the facts that their bodies still prove.

A block's hash binds its body, and every node keeps the body. It shows which calls a hotkey signed,
but not whether the runtime accepted them: events show that, but are state and are pruned with it.
Source: `chain_getBlock`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assay.network.chain.runtime_features import COMMITMENTS
from assay.network.chain.sdk_private import get_codec
from assay.network.chain.substrate import Substrate
from assay.protocol.ss58 import decode_ss58
from assay.protocol.window import Block


@dataclass(frozen=True, slots=True)
class BlockBody:
    """The contents of a block's extrinsics: the payload that a hotkey last signed for its slot in
    this block. Calls wrapped in another call, such as a proxy's, are not included."""

    block: Block
    commitments: Mapping[bytes, bytes]


async def read_body(substrate: Substrate, netuid: int, number: int) -> BlockBody:
    """A block's body, as far as the available metadata of the runtime decodes it."""
    text = await substrate.block_hash(number)
    answer = await substrate.raw.rpc_request("chain_getBlock", [text])
    codec = await get_codec(substrate)
    timestamp, commitments = 0, {}
    for data in answer["block"]["extrinsics"]:
        try:
            extrinsic = codec.decode_extrinsic(data)
        except Exception:  # noqa: BLE001 - the SDK's native decoder raises nothing narrower
            continue
        name, arguments = _split_call(extrinsic["call"])
        if name == "Timestamp.set":
            timestamp = int(arguments["now"])
        elif name == f"{COMMITMENTS}.set_commitment" and arguments["netuid"] == netuid:
            commitments[decode_ss58(extrinsic["address"])] = get_payload(arguments["info"])
    block = Block(number, bytes.fromhex(text.removeprefix("0x")), timestamp)
    return BlockBody(block, commitments)


def find_signed(bodies: Iterator[BlockBody]) -> dict[bytes, bytes]:
    """The payload that each hotkey signed last, over bodies in order."""
    signed: dict[bytes, bytes] = {}
    for body in bodies:
        signed |= body.commitments
    return signed


def get_payload(info: Any) -> bytes:
    """The one raw field of a slot. b"" where the slot has anything else, which is not a
    commitment."""
    fields = info["fields"]
    if len(fields) != 1 or not isinstance(fields[0], dict):
        return b""
    ((kind, value),) = fields[0].items()
    if not kind.startswith("Raw"):
        return b""
    return bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else bytes(value)


def _split_call(call: Any) -> tuple[str, dict[str, Any]]:
    arguments = {argument["name"]: argument["value"] for argument in call["call_args"]}
    return f"{call['call_module']}.{call['call_function']}", arguments
