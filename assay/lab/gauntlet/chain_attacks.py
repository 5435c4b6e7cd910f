"""Strategies that act on chain state, on the calendar or on the bytes they serve.

They run as whole miners on the simulator beside a whole validator; `act` is called once a block.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from typing import ClassVar

from assay.lab.gauntlet.content_attacks import FakingMiner
from assay.lab.gauntlet.strategy import Strategy
from assay.lab.simulator import SimulatedChain
from assay.neurons.miner.miner import Group, Miner, WindowWork
from assay.neurons.miner.work_database import WorkStage
from assay.protocol.commitment import encode_commitment
from assay.protocol.context import Context
from assay.protocol.selection import AuditedGroup, select_committed
from assay.protocol.submission import decode_opening, get_opening_bytes
from assay.protocol.window import Phase, compute_block, compute_window
from assay.session.window_reader import get_context

#: As long as any file's opening.
#: What an audit looks at.
Chosen = tuple[AuditedGroup, ...]
_GARBAGE = b"these bytes are no submission" * 1_000


class AuditWatcher(FakingMiner, ABC):
    """Commits in time, waits for the audit's choice, and only then acts."""

    share: ClassVar[float] = 0.75

    @cached_property
    def waiting(self) -> dict[int, WindowWork]:
        """Windows with a commitment that were not answered yet."""
        return {}

    def _commit(self, work: WindowWork) -> None:
        super()._commit(work)
        self.waiting[work.challenge.window] = work

    def act(self, head: int) -> None:
        """Answer every window whose audit round is out."""
        for window, work in list(self.waiting.items()):
            context = get_context(
                self.dependencies.chain,
                self.dependencies.beacons,
                work.challenge.parameters,
                work.challenge,
            )
            if context is not None:
                del self.waiting[window]
                self.answer(work, self.find_selection(work, context))

    def find_selection(self, work: WindowWork, context: Context) -> Chosen:
        """The audit's choice, which everyone can compute."""
        return select_committed(context, self.hotkey, len(work.groups))

    def is_hit(self, work: WindowWork, chosen: Chosen) -> bool:
        """Return whether the audit looks at a faked group."""
        return chosen[-1].index >= max(1, int(len(work.groups) * self.share))

    @abstractmethod
    def answer(self, work: WindowWork, chosen: Chosen) -> None:
        """React to the audit's choice."""


class HidesAfterTheAudit(AuditWatcher):
    """Fakes a quarter of its groups, and shows its file only if the audit has hit none."""

    title, hides = "withheld after the audit round", "NOT_REVEALED"

    @cached_property
    def held(self) -> dict[int, bytes]:
        """Files that it has not shown to anybody."""
        return {}

    def upload(self, window: int, data: bytes) -> None:
        self.held[window] = data

    def answer(self, work: WindowWork, chosen: Chosen) -> None:
        data = self.held.pop(work.challenge.window)
        if not self.is_hit(work, chosen):
            super().upload(work.challenge.window, data)


class GarblesAfterTheAudit(AuditWatcher):
    """Fakes a quarter of its groups, and serves malformed bytes if the audit hit one."""

    title, hides = "unparsable after the audit round", "MALFORMED"

    def answer(self, work: WindowWork, chosen: Chosen) -> None:
        if self.is_hit(work, chosen):
            self.upload(work.challenge.window, _GARBAGE)


class UploadsOnlyTheAudited(AuditWatcher):
    """Does honest work, but shows only the audited groups, with zeros in place of the others: the
    trainer gets no data."""

    title, share = "only audited groups uploaded", 1.0

    def answer(self, work: WindowWork, chosen: Chosen) -> None:
        data = bytearray(self.encode(work))
        count = len(work.groups)
        opening = decode_opening(bytes(data[: get_opening_bytes(count)]), count)
        for index in set(range(count)) - {group.index for group in chosen}:
            place = opening.find_group(index)
            data[place.start : place.end] = bytes(place.size)
        self.upload(work.challenge.window, bytes(data))


class OverwritesTheCommitment(AuditWatcher):
    """Commits to copies. Once it knows the audited groups, it makes those and commits again."""

    title, share = "commitment overwritten", 0.125
    overwrote: bool = False

    def act(self, head: int) -> None:
        """Restore the slot's content for the next window, since one slot serves all windows."""
        work = self.work
        if self.overwrote and work is not None and work.stage is WorkStage.SENT:
            self.overwrote = False
            super(AuditWatcher, self)._commit(work)  # so that it is not answered twice
        super().act(head)

    def answer(self, work: WindowWork, chosen: Chosen) -> None:
        """Make genuine groups where the audit looks, and copies elsewhere, under a root that is too
        late."""
        better = replace(work, groups=list(work.groups), root=None)
        for group in chosen:
            genuine = Miner.generate(self, work, range(group.index, group.index + 1))
            (better.groups[group.index],) = self.bill_tokens(genuine, "bf16")
        self.upload(work.challenge.window, self.encode(better))
        payload = encode_commitment(self._make_commitment(better))
        self.dependencies.chain.set_commitment(self.hotkey, payload)
        self.overwrote = True


class RestsOnItsPay(Strategy):
    """Is paid for its first window, and then voids its windows: it commits to files that no judge
    can read, so that it earns nothing and lives on the weights that the chain has."""

    title = "paid last, then voids its windows"

    @cached_property
    def worked(self) -> list[Group]:
        """Its honest groups."""
        return []

    def generate(self, work: WindowWork, indices: range) -> list[Group]:
        if work.challenge.window:
            return [self.worked[index] for index in indices]
        groups = self.bill_tokens(Miner.generate(self, work, indices), "bf16", "prefill")
        self.worked.extend(groups)
        return groups

    def upload(self, window: int, data: bytes) -> None:
        super().upload(window, _GARBAGE if window else data)


class _Renaming(Strategy, ABC):
    """Honest work under hotkeys that change."""

    def generate(self, work: WindowWork, indices: range) -> list[Group]:
        return self.bill_tokens(Miner.generate(self, work, indices), "bf16", "prefill")

    renamed_in: int = -1

    def act(self, head: int) -> None:
        """Rename itself as soon as a window has started."""
        window = compute_window(self._parameters.first.timing, head)
        if window > self.renamed_in:
            self.renamed_in = window
            self.rename(window)

    @abstractmethod
    def rename(self, window: int) -> None:
        """Take another hotkey."""

    def make_hotkey(self, window: int) -> bytes:
        """The hotkey that it prefers in a window, chosen after the challenge is known."""
        return sha256(self.name.encode() + window.to_bytes(8, "big")).digest()

    @property
    def chain(self) -> SimulatedChain:
        """The simulator, which lets anyone register and swap."""
        chain = self.dependencies.chain
        if not isinstance(chain, SimulatedChain):
            raise TypeError("this strategy needs the simulated chain")
        return chain


class RegistersAfterTheChallenge(_Renaming):
    """Sees the challenge, finds a hotkey whose problems are easy, and takes a fresh seat."""

    title = "registered after the challenge"

    def rename(self, window: int) -> None:
        self.hotkey = self.make_hotkey(window)
        self.chain.register(self.hotkey)


class SwapsAfterTheChallenge(_Renaming):
    """Sees the challenge, finds a hotkey whose problems are easy, and moves its seat there."""

    title = "hotkey swapped after the challenge"

    def rename(self, window: int) -> None:
        old, self.hotkey = self.hotkey, self.make_hotkey(window)
        self.chain.swap(old, self.hotkey)


class SwapsAfterBeingCaught(FakingMiner):
    """Submits copies in its first window, is caught, and continues honestly under a new hotkey."""

    title, share = "hotkey swapped after being caught", 1.0

    def generate(self, work: WindowWork, indices: range) -> list[Group]:
        first = work.challenge.window == 0
        self.share = 0.125 if first else 1.0  # type: ignore[misc]
        return super().generate(work, indices)

    def act(self, head: int) -> None:
        """Swap once the first window's audit is over."""
        if head == compute_block(self._parameters.first.timing, 0, Phase.FETCH_END) + 1:
            old, self.hotkey = self.hotkey, sha256(self.hotkey).digest()
            chain = self.dependencies.chain
            if isinstance(chain, SimulatedChain):
                chain.swap(old, self.hotkey)
