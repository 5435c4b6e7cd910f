"""A chain in memory: blocks, uids, commitments, weights and epochs, nothing else.

It is a simulator. What a real subtensor has and this has not: signatures, fees, stake, finality lag
(a minted block is final at once), Yuma consensus (weights are kept, incentives are not computed),
commit-reveal, rate limits, and other people. What it keeps alike: state is read *at a block*,
changes take effect in the next block, one commitment slot a hotkey, at most 128 bytes of it, epochs
where subtensor has them, and old state is forgotten.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock

from assay.protocol import Block, Member
from assay.protocol.commitment import COMMITMENT_BYTES
from assay.protocol.errors import OperatorError

#: Blocks of state that a plain node keeps.
STATE_BLOCKS = 256


class ChainError(OperatorError):
    """The chain refused a call or cannot answer: says why and what to do."""


@dataclass(frozen=True, slots=True)
class _State:
    members: Mapping[bytes, Member]
    commitments: Mapping[bytes, bytes]
    weights: Mapping[bytes, Mapping[int, int]]


@dataclass(slots=True)
class _Pending:
    registrations: list[bytes] = field(default_factory=list)
    swaps: list[tuple[bytes, bytes]] = field(default_factory=list)
    commitments: dict[bytes, bytes] = field(default_factory=dict)
    weights: dict[bytes, Mapping[int, int]] = field(default_factory=dict)


class SimulatedChain:
    """One subnet's chain. Safe to use from several threads.

    Args:
        seed: block hashes follow from it; a real chain's do not follow from anything.
        genesis_ms: Unix time of block 0, milliseconds.
        slot_ms: time between blocks.
        tempo: an epoch comes every tempo + 1 blocks, as on subtensor.
        hotkeys: registered in block 0, uids in this order.
    """

    def __init__(
        self,
        seed: bytes,
        netuid: int,
        genesis_ms: int,
        slot_ms: int,
        tempo: int,
        hotkeys: Sequence[bytes] = (),
    ) -> None:
        self.genesis_hash = sha256(b"assay simulated chain" + seed).digest()
        self.netuid = netuid
        self._tempo = tempo
        self._slot_ms = slot_ms
        self._lock = Lock()
        self._blocks = [Block(0, self.genesis_hash, genesis_ms)]
        members = {hotkey: Member(uid, 0) for uid, hotkey in enumerate(hotkeys)}
        self._states = {0: _State(members, {}, {})}
        self._pending = _Pending()
        self._next_uid = len(members)

    def mint(self) -> Block:
        """Adds the next block with everything submitted since the last one."""
        with self._lock:
            parent = self._blocks[-1]
            number = parent.number + 1
            block = Block(
                number,
                sha256(parent.hash + number.to_bytes(8, "big")).digest(),
                parent.timestamp_ms + self._slot_ms,
            )
            old = self._states[parent.number]
            members = dict(old.members)
            for hotkey in self._pending.registrations:
                if hotkey not in members:
                    members[hotkey] = Member(self._next_uid, number)
                    self._next_uid += 1
            for old_key, new_key in self._pending.swaps:
                members[new_key] = members.pop(old_key)  # the seat stays what it was
            self._states[number] = _State(
                members,
                {**old.commitments, **self._pending.commitments},
                {**old.weights, **self._pending.weights},
            )
            self._states.pop(number - STATE_BLOCKS, None)
            self._blocks.append(block)
            self._pending = _Pending()
            return block

    def get_head(self) -> int:
        """Number of the newest final block."""
        return self._blocks[-1].number

    def get_block(self, number: int) -> Block:
        """A block of the past.

        Raises:
            ChainError: it does not exist yet.
        """
        if not 0 <= number < len(self._blocks):
            raise ChainError(f"block {number} is not there: the head is {self.get_head()}")
        return self._blocks[number]

    def get_members(self, number: int) -> Mapping[bytes, Member]:
        """Who holds which uid at a block: hotkey → member."""
        return self._state(number).members

    def get_commitments(self, number: int) -> Mapping[bytes, bytes]:
        """All commitment slots at a block: hotkey → payload."""
        return self._state(number).commitments

    def get_weights(self, number: int) -> Mapping[bytes, Mapping[int, int]]:
        """Weights at a block: validator's hotkey → uid → u16."""
        return self._state(number).weights

    def is_epoch(self, number: int) -> bool:
        """Whether the subnet's epoch ends with this block: subtensor's rule."""
        return number > 0 and (number + self.netuid + 1) % (self._tempo + 1) == self._tempo

    def register(self, hotkey: bytes) -> None:
        """Asks for a uid; it is held from the next block on."""
        with self._lock:
            self._pending.registrations.append(hotkey)

    def swap(self, old: bytes, new: bytes) -> None:
        """Moves a seat to another hotkey with the next block; uid and registration stay.

        Raises:
            ChainError: the old one is not registered, or the new one is.
        """
        with self._lock:
            self._require_member(old)
            if new in self._states[self._blocks[-1].number].members:
                raise ChainError("the new hotkey holds a uid already: name another")
            self._pending.swaps.append((old, new))

    def set_commitment(self, hotkey: bytes, payload: bytes) -> None:
        """Overwrites the hotkey's slot with the next block.

        Raises:
            ChainError: not registered, or more than 128 bytes.
        """
        if len(payload) > COMMITMENT_BYTES:
            raise ChainError(f"a commitment has at most {COMMITMENT_BYTES} bytes")
        with self._lock:
            self._require_member(hotkey)
            self._pending.commitments[hotkey] = payload

    def set_weights(self, hotkey: bytes, weights: Mapping[int, int]) -> None:
        """Replaces a validator's weights with the next block.

        Raises:
            ChainError: not registered, or a weight that is not a u16.
        """
        if any(not 0 <= weight <= 65_535 for weight in weights.values()):
            raise ChainError("a weight is an integer from 0 to 65,535")
        with self._lock:
            self._require_member(hotkey)
            self._pending.weights[hotkey] = dict(weights)

    def _require_member(self, hotkey: bytes) -> None:
        if hotkey not in self._states[self._blocks[-1].number].members:
            raise ChainError("the hotkey is not registered on this subnet: register it first")

    def _state(self, number: int) -> _State:
        with self._lock:
            state = self._states.get(number)
        if state is None:
            raise ChainError(
                f"state at block {number} is not there: nodes keep {STATE_BLOCKS} blocks up to "
                f"their head, {self.get_head()}"
            )
        return state
