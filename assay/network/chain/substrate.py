"""The used part of the SDK's client for one node, so that type annotations need not load the
SDK."""

from collections.abc import Sequence
from typing import Any, Protocol


class Substrate(Protocol):
    """A connected `bittensor.RpcSubstrate`. Blocks are named by their hash in hex.

    Every method raises the SDK's errors (`sdk_private.get_faults`), or `errors.NONSENSE` where the
    node's answer cannot be decoded.
    """

    endpoint: str
    raw: Any

    async def block_hash(self, block: int, /) -> str:
        """Hash of the block with that number."""

    async def block_number(self) -> int:
        """Number of the best block, final or not."""

    async def finalized_block_number(self) -> int:
        """Number of the newest final block."""

    async def block_time(self) -> float:
        """Seconds between two blocks."""

    async def spec_version(self) -> int:
        """The spec version of the runtime at the head."""

    async def query(
        self,
        pallet: str,
        name: str,
        params: Sequence[Any] | None = None,
        /,
        *,
        block_hash: str | None = None,
    ) -> Any:
        """A storage item's value; None: it has none."""

    async def query_batch(
        self, pallet: str, name: str, params: Sequence[Sequence[Any]], block_hash: str, /
    ) -> list[Any]:
        """The values of several keys of one item, in order."""

    async def runtime_call(self, api: str, method: str, params: Sequence[Any], /) -> Any:
        """A runtime API's answer at the head."""

    async def compose(self, call: Any, /) -> Any:
        """A call in the runtime's encoding."""

    async def estimate_fee(self, call: Any, key: Any, /) -> Any:
        """The price of a composed call, as the SDK's Balance."""
