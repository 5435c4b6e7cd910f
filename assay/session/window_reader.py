"""Reads a window off the chain: its checkpoint, its challenge, and its commitments.

Miner, validator and trainer use the same three functions, so they cannot disagree. The functions
pass on a BeaconError of the beacon's source. Specification, section 2.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from assay.artifacts.ports import BeaconSource
from assay.network.beacon import BeaconSourceError
from assay.network.chain.ports import BlockReader
from assay.protocol.beacon import Beacon, is_valid_beacon
from assay.protocol.commitment import Tag, parse_commitment
from assay.protocol.context import Committed, Context, Member
from assay.protocol.errors import OperatorError, TroubleKind
from assay.protocol.parameters import Parameters
from assay.protocol.seeds import compute_challenge_seed
from assay.protocol.window import Block, Phase, compute_block, compute_round
from assay.rounds.in_force import get_checkpoint_digest

#: Epochs after a settlement's own at whose blocks its weights are looked for. Timelocked weights
#: are revealed an epoch or more later.
_EPOCHS_AFTER = 3


class BeaconError(OperatorError):
    """A source returned a beacon that is not the pinned chain's, or cannot be asked."""

    trouble_kind = TroubleKind.BEACON


@dataclass(frozen=True)
class Challenge:
    """A miner's facts at the start: everything of a window that is known at its first block."""

    window: int
    block: Block
    beacon: Beacon
    checkpoint: bytes
    parameters: Parameters

    @cached_property
    def seed(self) -> bytes:
        """The challenge seed, 32 bytes."""
        return compute_challenge_seed(
            self.parameters.digest,
            self.parameters.environment.digest,
            self.window,
            self.checkpoint,
            self.block.hash,
            self.beacon.randomness,
        )


def get_challenge(
    chain: BlockReader, beacons: BeaconSource, parameters: Parameters, window: int
) -> Challenge | None:
    """The window's challenge. None before its block is final and its beacon is out."""
    number = compute_block(parameters.timing, window, Phase.CHALLENGE)
    if chain.get_head() < number:
        return None
    block = chain.get_block(number)
    beacon = get_beacon(beacons, parameters, block)
    if beacon is None:
        return None
    checkpoint = get_checkpoint_digest(chain, parameters, window)
    return Challenge(window, block, beacon, checkpoint, parameters)


def get_context(
    chain: BlockReader, beacons: BeaconSource, parameters: Parameters, challenge: Challenge
) -> Context | None:
    """Everything that judging needs. None before the audit block is final and its beacon is out. It
    has the samples' beacon if that is available."""
    timing, window = parameters.timing, challenge.window
    number = compute_block(timing, window, Phase.AUDIT)
    if chain.get_head() < number:
        return None
    block = chain.get_block(number)
    audit = get_beacon(beacons, parameters, block)
    if audit is None:
        return None
    committed_at = compute_block(timing, window, Phase.COMMIT)
    context = Context(
        window=window,
        challenge_block=challenge.block,
        audit_block=block,
        sample_block=Block(compute_block(timing, window, Phase.SAMPLE), bytes(32), 0),
        challenge=challenge.beacon,
        audit=audit,
        sample=None,
        members=get_steady_members(chain, challenge.block.number, committed_at),
        commitments=get_window_commitments(chain, window, committed_at),
        checkpoint=challenge.checkpoint,
        parameters=parameters,
    )
    with suppress(BeaconError):  # the samples' beacon is not needed yet
        context = add_sample(chain, beacons, context)
    return context


def add_sample(chain: BlockReader, beacons: BeaconSource, context: Context) -> Context:
    """The context with the samples' beacon, if its block is final and the beacon is out."""
    number = context.sample_block.number
    if context.sample is not None or chain.get_head() < number:
        return context
    block = chain.get_block(number)
    beacon = get_beacon(beacons, context.parameters, block)
    if beacon is None:
        return context
    return replace(context, sample_block=block, sample=beacon)


def find_epoch(chain: BlockReader, parameters: Parameters, start: int) -> int:
    """The first epoch block at or after a block. The chain may still move a future one."""
    blocks = range(start, start + 2 * (parameters.timing.tempo + 1))
    return next((block for block in blocks if chain.is_epoch(block)), blocks.stop)


def find_settlement(chain: BlockReader, parameters: Parameters, window: int) -> int:
    """The epoch block that will settle a window. A ledger runs between two of them."""
    end = compute_block(parameters.timing, window, Phase.VERDICT_END)
    return find_epoch(chain, parameters, end)


def iterate_weight_blocks(chain: BlockReader, epoch: int) -> Iterator[int]:
    """The blocks at which a settlement's weights would be in force, if they ever are."""
    head, number, epochs = chain.get_head(), epoch + 1, 0
    while number <= head and epochs < _EPOCHS_AFTER:
        if chain.is_epoch(number):
            epochs += 1
            yield number
        number += 1
    if epochs < _EPOCHS_AFTER and head > epoch:
        yield head


def get_beacon(beacons: BeaconSource, parameters: Parameters, block: Block) -> Beacon | None:
    """The beacon that a block names, verified. None before it is out."""
    number = compute_round(parameters.timing, parameters.beacon, block.timestamp_ms)
    try:
        beacon = beacons.get(number)
    except BeaconSourceError as error:
        raise BeaconError(f"round {number} cannot be requested: {error}") from error
    if beacon is None:
        return None
    if beacon.round != number or not is_valid_beacon(parameters.beacon, beacon):
        raise BeaconError(f"the source's beacon of round {number} is not the pinned chain's")
    return beacon


def get_steady_members(chain: BlockReader, first: int, last: int) -> Mapping[bytes, Member]:
    """The members that hold the same seat at both blocks."""
    end = chain.get_members(last)
    begin = chain.get_members(first)
    return {hotkey: member for hotkey, member in begin.items() if end.get(hotkey) == member}


def get_window_commitments(
    chain: BlockReader, window: int, block: int
) -> Mapping[bytes, Committed]:
    """The commitments to a window in the state of a block: hotkey → commitment, for every uid."""
    return select_commitments(chain.get_commitments(block), window, block)


def select_commitments(
    slots: Mapping[bytes, bytes], window: int, block: int
) -> Mapping[bytes, Committed]:
    """The slots (hotkey → payload) that commit to a window's file, read at a block."""
    committed = {}
    for hotkey, payload in slots.items():
        commitment = parse_commitment(payload)
        if commitment is not None and commitment.tag is Tag.MINER and commitment.number == window:
            committed[hotkey] = Committed(
                commitment.digest, commitment.groups, block, commitment.locator
            )
    return committed
