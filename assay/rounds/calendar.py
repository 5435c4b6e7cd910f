"""A round's calendar, line and shares: the groups that each trainer may learn from, and its times.

All of it follows from parameters, blocks and seeds, so nobody can choose it. Specification, section
11.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from assay.protocol.amendment import ParameterHistory
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Parameters, Rounds


@dataclass(frozen=True, slots=True)
class Round:
    """One round under its parameters."""

    parameters: Parameters
    rounds: Rounds  # of these parameters
    number: int

    @property
    def windows(self) -> range:
        """The windows whose groups the round learns from."""
        length = self.rounds.windows
        return range(self.number * length, (self.number + 1) * length)

    @property
    def end(self) -> int:
        """The first window after the round. It names the round on chain, and is its checkpoint's
        number."""
        return self.windows.stop

    @property
    def deadline(self) -> int:
        """The block whose state decides which children exist. Until then nobody shows a child,
        and from then on each trainer shows the one that it named."""
        length = self.parameters.timing.window_blocks
        return self.end * length + self.rounds.child_offset

    @property
    def opening(self) -> int:
        """The last block at which slots still name checkpoints. Trainers put children on chain
        after it."""
        return max(0, self.deadline - self.rounds.child_blocks)

    @property
    def turns_end(self) -> int:
        """The first block after all turns."""
        return self.get_turn(len(self.rounds.trainers))

    def get_turn(self, place: int) -> int:
        """The first block at which a publication by the trainer at that place in line counts."""
        return self.deadline + self.rounds.reveal_blocks + place * self.rounds.turn_blocks


def find_round(parameters: Parameters, window: int) -> Round:
    """The round of a window. Raises ValueError if the parameters have no rounds."""
    if parameters.rounds is None:
        raise ValueError("these parameters have no rounds")
    return Round(parameters, parameters.rounds, window // parameters.rounds.windows)


def find_rounds(history: ParameterHistory, window: int) -> Parameters | None:
    """The parameters of a window, if they have rounds."""
    if history.end is not None and window >= history.end:
        return None
    parameters = history.get(window)
    return parameters if parameters.rounds is not None else None


def list_trainers(history: ParameterHistory, pending: Parameters | None = None) -> list[bytes]:
    """Hotkeys that may train under the newest parameters: the identity's trainer, and the trainers
    of rounds. `pending` are announced parameters that are not decided yet: their trainers may wait
    for them."""
    named = [one.rounds.trainers for one in (history.latest, pending) if one and one.rounds]
    return list(dict.fromkeys((history.first.identity.trainer, *(h for t in named for h in t))))


def find_last_round(parameters: Parameters, block: int) -> Round | None:
    """The newest round whose deadline a block has reached. None if it has reached none under these
    parameters."""
    rounds = parameters.rounds
    if rounds is None:
        return None
    length = rounds.windows * parameters.timing.window_blocks
    last = Round(parameters, rounds, (block - rounds.child_offset) // length - 1)
    return last if last.end > parameters.start.window else None


def has_pause(history: ParameterHistory, end: int, window: int) -> bool:
    """Whether there were no rounds for a time, from the last window of the round that ends before
    window `end` until `window`."""
    plain = (one.start.window for one in history.all if one.rounds is None)
    return history.get(end - 1).rounds is None or any(end <= start <= window for start in plain)


def compute_line(of: Round, block_hash: bytes) -> tuple[bytes, ...]:
    """The trainers in the order in which they may measure and publish the round's result.

    Args:
        block_hash: hash of the deadline's block. Its author could choose the first trainer, but
            would gain nothing: the published result must equal the one that everybody derives.
    """

    def rank(hotkey: bytes) -> bytes:
        return hash_fields(
            Domain.LINE, of.parameters.digest, of.end.to_bytes(8, "big"), block_hash, hotkey
        )

    return tuple(sorted(of.rounds.trainers, key=rank))


def compute_share(trainers: Sequence[bytes], audit_seed: bytes, hotkey: bytes, index: int) -> bytes:
    """The trainer that learns from a group: a hash modulo the number of trainers. The hash uses the
    window's audit seed, which nobody knew when miners committed."""
    drawn = hash_fields(Domain.SHARE, audit_seed, hotkey, index.to_bytes(4, "big"))
    return trainers[int.from_bytes(drawn, "big") % len(trainers)]
