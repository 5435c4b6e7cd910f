"""The checkpoint in force, from the chain alone, with one trainer or several.

With rounds, it is the checkpoint of the newest round whose turns have begun, as the first trainer
in line that kept to its turn published it. While slots hold children instead of checkpoints, their
earlier content counts. Specification, sections 7 and 11.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from assay.network.chain.errors import ForgottenError
from assay.network.chain.ports import BlockReader
from assay.protocol.commitment import Commitment, Tag, parse_commitment
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Parameters
from assay.protocol.window import Phase, compute_block
from assay.rounds.calendar import Round, compute_line, find_last_round

Slots = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class InForce:
    """A checkpoint and its number, as its publisher names them."""

    digest: bytes
    number: int


#: If a slot holds something else, no checkpoint is in force, and the windows count for nobody. A
#: fallback to the genesis would bring back an old model unnoticed.
NOTHING = InForce(ZERO_DIGEST, 0)


def get_checkpoint_digest(chain: BlockReader, parameters: Parameters, window: int) -> bytes:
    """Digest of the checkpoint in force for a window. If no trainer has published one, the
    parameters' own."""
    return get_in_force(chain, parameters, window).digest


def get_in_force(chain: BlockReader, parameters: Parameters, window: int) -> InForce:
    """The checkpoint in force for a window, with its number."""
    block = compute_block(parameters.timing, window, Phase.CHECKPOINT)
    return get_in_force_at(chain, parameters, block)


def get_in_force_at(chain: BlockReader, parameters: Parameters, block: int) -> InForce:
    """The checkpoint that state at a block names."""
    if parameters.rounds is None:
        return _read_anchor(chain.get_commitments(block), parameters) or NOTHING
    last = find_last_round(parameters, block)
    coming = Round(parameters, parameters.rounds, -1 if last is None else last.number + 1)
    if last is None:  # the first under these parameters
        coming = Round(
            parameters, parameters.rounds, parameters.start.window // parameters.rounds.windows
        )
    block = min(block, coming.opening)
    slots = chain.get_commitments(block)
    if last is not None:
        published = find_published(chain, last, slots, block)
        if published is not None:
            return InForce(published.digest, published.number)
        if block < last.turns_end:  # in the future: the earlier one stays in force
            return get_in_force_at(chain, parameters, last.opening)
    anchor = _read_anchor(slots, parameters)
    if anchor is not None and anchor.number >= (coming if last is None else last).end:
        anchor = NOTHING  # of an unfinished round, or out of turn
    if anchor is None and last is not None:  # its trainer did not publish again
        return get_in_force_at(chain, parameters, last.opening)
    return anchor or NOTHING


def find_newest(chain: BlockReader, parameters: Parameters, head: int) -> InForce | None:
    """The trainer's newest published checkpoint that will be in force, by the slots at the newest
    block. None if they name no checkpoint."""
    if parameters.rounds is not None:
        in_force = get_in_force_at(chain, parameters, head)
        return None if in_force == NOTHING else in_force
    commitment = parse_commitment(chain.get_commitments(head).get(parameters.identity.trainer, b""))
    if commitment is None or commitment.tag is not Tag.CHECKPOINT:
        return None
    return InForce(commitment.digest, commitment.number)


def find_published(chain: BlockReader, of: Round, slots: Slots, block: int) -> Commitment | None:
    """The commitment of the first in line whose checkpoint of a round counts at a block. None if
    none does yet.

    A turn that is over counts as it ended: if the first in line is late, its checkpoint does not
    replace the next one's, from which trainers continue. After all turns latecomers count, if
    nobody was in time.

    Args:
        slots: at that block.

    Raises:
        ForgottenError: no node remembers how a turn ended, and its trainer's slot was written
            since, so that it does not say what it held.
    """
    if of.end <= of.parameters.start.number:
        return None
    line = compute_line(of, chain.get_block(of.deadline).hash)
    for place, hotkey in enumerate(line):
        if block < of.get_turn(place):
            return None
        end = of.get_turn(place + 1) - 1
        at_end = slots if block <= end else _get_slots_then(chain, hotkey, end, slots, block)
        published = _find_made(of, hotkey, at_end)
        if published is not None or block <= end:
            return published
    made = (_find_made(of, hotkey, slots) for hotkey in line)
    return next((commitment for commitment in made if commitment is not None), None)


def _get_slots_then(
    chain: BlockReader, hotkey: bytes, then: int, slots: Slots, block: int
) -> Slots:
    """Slots of which a trainer's is as it was at an earlier block. Where no node remembers that
    state, a slot that was not written since is what it was."""
    try:
        return chain.get_commitments(then)
    except ForgottenError:
        if chain.get_commitment_blocks(block).get(hotkey, 0) > then:
            raise
        return slots


def _find_made(of: Round, hotkey: bytes, slots: Slots) -> Commitment | None:
    """The commitment to a round's checkpoint in a trainer's slot."""
    commitment = parse_commitment(slots.get(hotkey, b""))
    if commitment is None or commitment.tag is not Tag.CHECKPOINT or commitment.number != of.end:
        return None
    return commitment


def _read_anchor(slots: Slots, parameters: Parameters) -> InForce | None:
    """The checkpoint in the identity's trainer's slot. None if the slot names a child."""
    start = parameters.start
    is_amended = start.checkpoint != ZERO_DIGEST
    named = InForce(parameters.first_checkpoint, start.number)
    payload = slots.get(parameters.identity.trainer)
    if payload is None:
        return named
    commitment = parse_commitment(payload)
    if commitment is not None and commitment.tag is Tag.CHILD and parameters.rounds is not None:
        return None
    if commitment is None or commitment.tag is not Tag.CHECKPOINT:
        return NOTHING
    if is_amended and commitment.number <= start.number:
        return named
    return InForce(commitment.digest, commitment.number)
