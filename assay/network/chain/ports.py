"""The port to a subnet's chain, in three steps: read at a block, read a subnet, act.

`SubtensorChain` is all three; an audit's recorded chain is the first. Every method raises a
`ChainError` if the chain cannot be read.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # one of them loads parts of the SDK
    from assay.network.chain.block_bodies import BlockBody
    from assay.network.chain.values import Hyperparameters, MetagraphRow, Quote, Setting
    from assay.protocol.context import Member
    from assay.protocol.window import Block


class BlockReader(Protocol):
    """A subnet at its finalized blocks: everything that a stranger can read again later.

    A method that takes a block's number raises a `ForgottenError` if only an archive node could
    answer.
    """

    @property
    def genesis_hash(self) -> bytes:
        """Hash of block 0, 32 bytes: it identifies the chain."""

    @property
    def netuid(self) -> int:
        """The subnet's number."""

    def get_head(self) -> int:
        """Number of the newest finalized block."""

    def get_block(self, number: int) -> "Block":
        """A finalized block."""

    def get_body(self, number: int) -> "BlockBody":
        """The remaining data of a block whose state is pruned."""

    def get_members(self, number: int) -> "Mapping[bytes, Member]":
        """The holder of each uid at a block: hotkey → member."""

    def get_commitments(self, number: int) -> Mapping[bytes, bytes]:
        """All commitment slots at a block: hotkey → payload."""

    def get_commitment_blocks(self, number: int) -> Mapping[bytes, int]:
        """When each commitment slot at a block was written last: hotkey → block."""

    def get_owner(self, number: int) -> bytes:
        """The hotkey of the subnet's owner at a block. Its slot names the parameters."""

    def get_weights(self, number: int) -> Mapping[bytes, Mapping[int, int]]:
        """Weights at a block: validator's hotkey → uid → u16."""

    def is_epoch(self, number: int) -> bool:
        """Return whether the subnet's epoch ends with this block. Predicted for a future block."""


class SubnetReader(BlockReader, Protocol):
    """A subnet as its participants read it: also its settings, prices and balances."""

    @property
    def runtime(self) -> object:
        """The software that runs the chain; `str` gives a text for people."""

    def get_metagraph(self, number: int) -> "Sequence[MetagraphRow]":
        """All neurons at a block, in order of uid."""

    def get_weights_block(self, hotkey: bytes, number: int) -> int | None:
        """The block of a hotkey's last weights as of a block; 0 before its first, None where it
        holds no uid. Timelocked weights count from the block that accepted them."""

    def get_next_weights_block(self, hotkey: bytes) -> int:
        """The first block in which a hotkey may set weights. A past block: it may at once."""

    def get_hyperparameters(self, number: int | None = None) -> "Hyperparameters":
        """The subnet's settings at a block, or now."""

    def get_settings(self, items: Mapping[str, bool]) -> "Mapping[str, Setting]":
        """Further settings now, as storage holds them, without those that the runtime lacks.
        `items`: storage item → whether the subnet has one of its own, or the whole chain one."""

    def get_balance(self, coldkey: bytes) -> int:
        """The amount that a coldkey can spend now, rao."""

    def get_alpha_price(self) -> int:
        """The current value of one alpha of the subnet in its pool, rao."""

    def quote_registration(self, hotkey: bytes) -> "Quote":
        """The current cost of a uid for a hotkey."""


class Chain(SubnetReader, Protocol):
    """A subnet's chain, read and written."""

    def set_commitment(self, hotkey: bytes, payload: bytes) -> None:
        """Overwrite the hotkey's commitment slot."""

    def set_weights(self, hotkey: bytes, weights: Mapping[int, int]) -> int:
        """Send a validator's weights, uid → u16. Return the block that holds them."""
