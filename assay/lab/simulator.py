"""A chain in memory: blocks, uids, commitments, weights, epochs, and the rules that neurons meet.

It is a simulator. What a real subtensor has and this has not: signatures, fees, alpha and its pool,
finality lag (a minted block is final at once), Yuma consensus (weights are kept, incentives are not
computed but told by `pay`), commit-reveal, and other people. What it keeps alike is held to the
real runtime by the same tests (tests/integration/chain): state is read *at a block*, changes take
effect in the next block, one commitment slot a hotkey, at most 128 bytes of it, epochs where
subtensor has them, registration costs, full subnets evict, rate limits and permits refuse, old
state is forgotten.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock

from assay.network.chain.block_bodies import BlockBody
from assay.network.chain.epochs import is_tempo_epoch
from assay.network.chain.errors import ChainError, ForgottenError, TooSoonError
from assay.network.chain.values import (
    STATE_BLOCKS,
    Hyperparameters,
    MetagraphRow,
    Quote,
    Receipt,
    Setting,
    format_tao,
)
from assay.network.chain.weights_sender import make_row
from assay.protocol.commitment import COMMITMENT_BYTES
from assay.protocol.context import Member
from assay.protocol.window import Block


@dataclass(frozen=True, slots=True)
class SimulatedRules:
    """The subnet's settings. The defaults let everybody do everything; with `permits` weights need
    one, which stake brings at the next epoch; `alpha_price` is in rao."""

    weights_rate_limit: int = 0
    registration_cost: int = 0
    max_uids: int = 256
    immunity_period: int = 0
    permits: bool = False
    alpha_price: int = 10**9


@dataclass(frozen=True, slots=True)
class _State:
    members: Mapping[bytes, Member]
    commitments: Mapping[bytes, bytes]
    weights: Mapping[bytes, Mapping[int, int]]
    stakes: Mapping[bytes, int] = field(default_factory=dict)
    permits: frozenset[bytes] = frozenset()
    updates: Mapping[bytes, int] = field(default_factory=dict)
    written: Mapping[bytes, int] = field(default_factory=dict)
    pay: Mapping[bytes, tuple[int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Pending:
    registrations: list[bytes] = field(default_factory=list)
    commitments: dict[bytes, bytes] = field(default_factory=dict)
    weights: dict[bytes, Mapping[int, int]] = field(default_factory=dict)
    stakes: dict[bytes, int] = field(default_factory=dict)
    swaps: dict[bytes, bytes] = field(default_factory=dict)
    pay: dict[bytes, tuple[int, int]] | None = None


class SimulatedChain:
    """One subnet's chain. Safe to use from several threads. Its refusals are `ChainError`s.

    Args:
        seed: block hashes follow from it; a real chain's do not follow from anything.
        genesis_ms: Unix time of block 0, milliseconds.
        slot_ms: time between blocks.
        tempo: an epoch comes every tempo + 1 blocks, as on subtensor where nothing is said of
            epochs but their tempo (spec 293); newer runtimes leave out the one.
        hotkeys: registered in block 0, uids in this order.
        kept: newest blocks that it remembers, at least those whose state it does; None: all. A node
            has them on disk.

    Attributes:
        rules: may be replaced at any time; holds from the next call on.
        pending: what has been submitted since the last block; what is taken out of it never comes.
    """

    def __init__(
        self,
        seed: bytes,
        netuid: int,
        genesis_ms: int,
        slot_ms: int,
        tempo: int,
        hotkeys: Sequence[bytes] = (),
        kept: int | None = None,
    ) -> None:
        self.runtime = "a simulator, no runtime"
        self.genesis_hash = sha256(b"assay simulated chain" + seed).digest()
        self.netuid = netuid
        self._tempo = tempo
        self._slot_ms = slot_ms
        self._kept = None if kept is None else max(kept, STATE_BLOCKS)
        self._lock = Lock()
        self.blocks = [Block(0, self.genesis_hash, genesis_ms)]
        members = {hotkey: Member(uid, 0) for uid, hotkey in enumerate(hotkeys)}
        self._states = {0: _State(members, {}, {})}
        self.bodies: dict[int, Mapping[bytes, bytes]] = {0: {}}
        self.pending = _Pending()
        self._balances: dict[bytes, int] = {}
        self.rules = SimulatedRules()

    def mint(self) -> Block:
        """Adds the next block with everything submitted since the last one."""
        with self._lock:
            parent = self.blocks[-1]
            number = parent.number + 1
            block = Block(
                number,
                sha256(parent.hash + number.to_bytes(8, "big")).digest(),
                parent.timestamp_ms + self._slot_ms,
            )
            self._states[number] = self._apply(self._states[parent.number], number)
            self._states.pop(number - STATE_BLOCKS, None)
            self.bodies[number] = self.pending.commitments
            self.blocks.append(block)
            self.pending = _Pending()
            if self._kept is not None and len(self.blocks) > self._kept:
                del self.bodies[self.blocks.pop(0).number]
            return block

    def _apply(self, old: _State, number: int) -> _State:
        pending, members = self.pending, dict(old.members)
        updates = dict(old.updates) | dict.fromkeys(pending.weights, number)
        weights = {**old.weights, **pending.weights}
        for hotkey in pending.registrations:
            uid = self._free_uid(members, number)
            members[hotkey], updates[hotkey] = Member(uid, number), number
        for gone, successor in pending.swaps.items():
            if gone in members:  # else evicted in this very block
                members[successor], updates[successor] = members.pop(gone), updates.get(gone, 0)
        stakes = dict(old.stakes)
        for hotkey, amount in pending.stakes.items():
            stakes[hotkey] = stakes.get(hotkey, 0) + amount
        permits = old.permits & members.keys()
        if self.is_epoch(number):
            permits = frozenset(hotkey for hotkey in members if stakes.get(hotkey))
        return _State(
            members,
            {**old.commitments, **pending.commitments},  # a slot outlives its hotkey's uid
            {hotkey: row for hotkey, row in weights.items() if hotkey in members},
            stakes,
            permits,
            updates,
            {**old.written, **dict.fromkeys(pending.commitments, number)},
            old.pay if pending.pay is None else pending.pay,
        )

    def _free_uid(self, members: dict[bytes, Member], number: int) -> int:
        """The next uid, or in a full subnet that of whoever has held one longest."""
        if len(members) < self.rules.max_uids:
            return max((member.uid for member in members.values()), default=-1) + 1
        evicted = min(self._list_evictable(members, number), key=lambda h: members[h].registered_at)
        return members.pop(evicted).uid

    def _list_evictable(self, members: Mapping[bytes, Member], number: int) -> list[bytes]:
        """The owner, uid 0, never goes, and newcomers are immune for a while."""
        return [
            hotkey
            for hotkey, member in members.items()
            if member.uid and number - member.registered_at >= self.rules.immunity_period
        ]

    def get_head(self) -> int:
        """Number of the newest final block."""
        return self.blocks[-1].number

    def get_best(self) -> int:
        """The head's number: every block is final at once."""
        return self.get_head()

    def get_time_ms(self) -> int:
        """Timestamp of the newest block, Unix milliseconds."""
        return self.blocks[-1].timestamp_ms

    def get_block(self, number: int) -> Block:
        """A block of the past, as far as it is remembered."""
        with self._lock:
            first, head = self.blocks[0].number, self.blocks[-1].number
            if first <= number <= head:
                return self.blocks[number - first]
        kind = ForgottenError if 0 <= number < first else ChainError
        raise kind(f"block {number} does not exist: the head is {head}")

    def get_body(self, number: int) -> BlockBody:
        """The remaining data of a block whose state is pruned."""
        return BlockBody(self.get_block(number), self.bodies[number])

    def get_members(self, number: int) -> Mapping[bytes, Member]:
        """The holder of each uid at a block: hotkey → member."""
        return self._state(number).members

    def get_commitments(self, number: int) -> Mapping[bytes, bytes]:
        """All commitment slots at a block: hotkey → payload."""
        return self._state(number).commitments

    def get_commitment_blocks(self, number: int) -> Mapping[bytes, int]:
        """When each commitment slot at a block was written last: hotkey → block."""
        return self._state(number).written

    def get_owner(self, number: int) -> bytes:
        """The hotkey of the subnet's owner: who holds uid 0."""
        return next(h for h, member in self._state(number).members.items() if not member.uid)

    def get_weights(self, number: int) -> Mapping[bytes, Mapping[int, int]]:
        """Weights at a block: validator's hotkey → uid → u16."""
        return self._state(number).weights

    def is_epoch(self, number: int) -> bool:
        """Whether the subnet's epoch ends with this block, see `is_tempo_epoch`."""
        return number > 0 and is_tempo_epoch(self.netuid, self._tempo, number)

    def get_hyperparameters(self, number: int | None = None) -> Hyperparameters:
        """The subnet's settings now: it does not remember earlier ones."""
        rules = self.rules
        return Hyperparameters(
            tempo=self._tempo,
            commit_reveal=False,
            weights_rate_limit=rules.weights_rate_limit,
            registration_cost=rules.registration_cost,
            registration_open=True,
            max_uids=rules.max_uids,
            immunity_period=rules.immunity_period,
            min_weights=1,
        )

    def get_settings(self, items: Mapping[str, bool]) -> Mapping[str, Setting]:
        """Those of `rules` that storage of a chain has: a tempo, a rate limit, an immunity."""
        held = {
            "Tempo": self._tempo,
            "WeightsSetRateLimit": self.rules.weights_rate_limit,
            "ImmunityPeriod": self.rules.immunity_period,
            "CommitRevealWeightsEnabled": False,
        }
        return {name: held[name] for name in items if name in held}

    def get_metagraph(self, number: int) -> list[MetagraphRow]:
        """All neurons at a block, in order of uid. Shares are what `pay` was told, else 0."""
        state = self._state(number)
        return [
            MetagraphRow(
                uid=member.uid,
                hotkey=hotkey,
                coldkey=hotkey,
                registered_at=member.registered_at,
                stake=state.stakes.get(hotkey, 0),
                permit=hotkey in state.permits,
                incentive=state.pay.get(hotkey, (0, 0))[0],
                dividends=0,
                emission=state.pay.get(hotkey, (0, 0))[1],
                last_update=state.updates.get(hotkey, 0),
            )
            for hotkey, member in sorted(state.members.items(), key=lambda item: item[1].uid)
        ]

    def get_balance(self, coldkey: bytes) -> int:
        """A coldkey's free balance, rao. Here every hotkey is its own coldkey."""
        return self._balances.get(coldkey, 0)

    def fund(self, coldkey: bytes, amount: int) -> None:
        """Gives a coldkey rao out of nothing."""
        with self._lock:
            self._balances[coldkey] = self._balances.get(coldkey, 0) + amount

    def pay(self, shares: Mapping[bytes, tuple[int, int]]) -> None:
        """Says what consensus would: hotkey → (incentive u16, emission in rao of alpha), from the
        next block until told anew."""
        with self._lock:
            self.pending.pay = dict(shares)

    def get_alpha_price(self) -> int:
        """The price of one alpha, rao: a rule here, there is no pool."""
        return self.rules.alpha_price

    def quote_registration(self, hotkey: bytes) -> Quote:
        """The price of a uid now."""
        return Quote(self.rules.registration_cost, 0)

    def register(self, hotkey: bytes, max_cost: int = 0) -> Receipt:
        """Buys a uid for at most `max_cost` rao; it is held from the next block on."""
        with self._lock:
            state, cost = self._newest, self.rules.registration_cost
            if hotkey in state.members or hotkey in self.pending.registrations:
                raise ChainError("the hotkey is already registered on this subnet")
            if cost > max_cost:
                raise ChainError(
                    f"a uid costs {format_tao(cost)}, more than the {format_tao(max_cost)} allowed"
                )
            if self.get_balance(hotkey) < cost:
                raise ChainError(
                    f"a uid costs {format_tao(cost)}, and the coldkey has "
                    f"{format_tao(self.get_balance(hotkey))}"
                )
            full = len(state.members) + len(self.pending.registrations) >= self.rules.max_uids
            if full and not self._list_evictable(state.members, self.get_head() + 1):
                raise ChainError("every uid belongs to a neuron that is still immune")
            self._balances[hotkey] = self.get_balance(hotkey) - cost
            self.pending.registrations.append(hotkey)
            return Receipt(self.get_head() + 1, 0, ())

    def add_stake(self, hotkey: bytes, amount: int, *, any_price: bool = False) -> Receipt:
        """Stakes rao on a hotkey with the next block."""
        with self._lock:
            balance = self.get_balance(hotkey)
            if balance < amount:
                raise ChainError(
                    f"{format_tao(amount)} to stake, and the coldkey has {format_tao(balance)}"
                )
            self._balances[hotkey] = balance - amount
            self.pending.stakes[hotkey] = self.pending.stakes.get(hotkey, 0) + amount
            return Receipt(self.get_head() + 1, 0, ())

    def swap(self, old: bytes, new: bytes) -> None:
        """Has another hotkey take over a seat with the next block: uid and age stay."""
        with self._lock:
            self._require_member(old)
            if new in self._newest.members:
                raise ChainError("the new hotkey is already registered on this subnet")
            self.pending.swaps[old] = new

    def set_commitment(self, hotkey: bytes, payload: bytes) -> None:
        """Overwrites the hotkey's slot with the next block."""
        if len(payload) > COMMITMENT_BYTES:
            raise ChainError(f"a commitment has at most {COMMITMENT_BYTES} bytes")
        with self._lock:
            self._require_member(hotkey)
            self.pending.commitments[hotkey] = payload

    def get_next_weights_block(self, hotkey: bytes) -> int:
        """First block in which a hotkey may set weights: a past one if it may now."""
        with self._lock:
            self._require_member(hotkey)
            last = self._newest.updates.get(hotkey, 0)
            return last + self.rules.weights_rate_limit if last else 0

    def get_weights_block(self, hotkey: bytes, number: int) -> int | None:
        """Block of a hotkey's last weights as known at a block, 0 before its first; None without a
        uid."""
        state = self._state(number)
        member, last = state.members.get(hotkey), state.updates.get(hotkey, 0)
        if member is None:
            return None
        return last if last > member.registered_at else 0  # registering counts as an update

    def set_weights(self, hotkey: bytes, weights: Mapping[int, int]) -> int:
        """Replaces a validator's weights with the next block: its number."""
        row, allowed = make_row(weights), self.get_next_weights_block(hotkey)
        if self.get_head() + 1 < allowed:
            raise TooSoonError(f"weights of this hotkey are accepted from block {allowed}", allowed)
        with self._lock:
            state = self._newest
            own_uid = state.members[hotkey].uid
            if self.rules.permits and hotkey not in state.permits and set(row) != {own_uid}:
                raise ChainError("the hotkey has no permit: stake, and wait for an epoch")
            if not set(row) <= {member.uid for member in state.members.values()}:
                raise ChainError("a weight is on a uid that nobody has")
            self.pending.weights[hotkey] = row
            return self.get_head() + 1

    @property
    def _newest(self) -> _State:
        return self._states[self.blocks[-1].number]

    def _require_member(self, hotkey: bytes) -> None:
        if hotkey not in self._newest.members:
            raise ChainError("the hotkey is not registered on this subnet: register it first")

    def _state(self, number: int) -> _State:
        with self._lock:
            state = self._states.get(number)
        if state is None:
            kind = ForgottenError if number <= self.get_head() else ChainError
            raise kind(
                f"state at block {number} is not there: nodes keep {STATE_BLOCKS} blocks up to "
                f"their head, {self.get_head()}"
            )
        return state
