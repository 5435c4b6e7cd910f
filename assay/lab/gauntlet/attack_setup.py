"""The setup for measuring strategies: one network in memory, one attacker's seat, the real judge.

The chain is the simulator; model, beacons, calendar, proofs and judge are real. The judge runs
another attention implementation than the miners, so that honest noise is real noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.submissions.judge import examine_file
from assay.artifacts.submissions.reading import SubmissionCopy
from assay.inference.checkpoint import load_checkpoint
from assay.inference.generate import GroupRequest
from assay.inference.implementations import APPEAL_IMPLEMENTATION, DEFAULT_IMPLEMENTATION
from assay.inference.placement import Placement
from assay.lab.gauntlet.bench_models import (
    BENCH,
    BENCH_TOKENS,
    EPISODES,
    EPISODES_WORK,
    EPISODES_WORLD,
    Family,
)
from assay.lab.gauntlet.sampling_attacks import make_stale
from assay.lab.gauntlet.strategy import AttackInputs, Strategy, list_replies
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.network.store.folder import open_folder
from assay.neurons.miner.miner import (
    Group,
    Miner,
    MinerConfig,
    MinerDependencies,
    WindowWork,
    make_work,
)
from assay.protocol.amendment import ParameterHistory
from assay.protocol.context import Committed, Context
from assay.protocol.episode import Reply, find_stop
from assay.protocol.parameters import DEMO_TIMING, Parameters, Timing
from assay.protocol.reason import Reason
from assay.protocol.selection import select_positions
from assay.protocol.submission import Range, Rollout, encode_submission, get_id_bits
from assay.session.window_reader import get_challenge, get_context
from assay.subnet.presets import DEMO_WORK, NETUID, make_demo_parameters, parse_environment
from assay.verification import Accepted, Examined, Forward, Measurement, Projection, Refused
from assay.verification.episodes import find_length_fault
from assay.verification.logprobs import judge_logprobs
from assay.verification.sampling import judge_sampling
from assay.verification.sketch import judge_sketch

#: Groups that a miner submits in a window: an audit looks into a sixth of them.
GROUPS_A_WINDOW = 48
_M = TypeVar("_M", bound=Miner)
_S = TypeVar("_S", bound=Strategy)
_T = TypeVar("_T")
_GENESIS_MS = 1_767_225_600_000
LOCATOR = "gauntlet:store"
_NAMES = ("owner", "trainer", "attacker", "victim")
_STALE_PASSAGES = 32


class MemorySubmission(SubmissionCopy):
    """A file in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, part: Range) -> bytes:
        return self._data[part.start : part.end]


class RememberingForward:
    """The judge's reference with a cache: it measures nothing twice."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._known: dict[tuple[object, ...], Measurement] = {}

    def measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[NDArray[np.uint32]],
        seeds: Sequence[bytes],
        projection: Projection,
        replies: Sequence[Sequence[Reply]] | None = None,
    ) -> list[Measurement]:
        """See `assay.verification.Forward`. All projections are of one checkpoint."""
        said = [()] * len(seeds) if replies is None else list(map(tuple, replies))
        matrix = projection.matrix.tobytes()
        rows = zip(seeds, prompts, completions, said, strict=True)
        keys = [(matrix, s, tuple(p), c.tobytes(), w) for s, p, c, w in rows]
        fresh = [i for i, key in enumerate(keys) if key not in self._known]
        if fresh:
            measured = self._forward.measure(
                [prompts[i] for i in fresh],
                [completions[i] for i in fresh],
                [seeds[i] for i in fresh],
                projection,
                [said[i] for i in fresh],
            )
            self._known |= {keys[i]: m for i, m in zip(fresh, measured, strict=True)}
        return [self._known[key] for key in keys]

    def forget(self) -> None:
        """Clear the cache."""
        self._known.clear()


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One measured rollout."""

    tokens: int
    differs: bool  # whether it differs from the honest one
    fault: Reason | None  # the reason why its own audit refuses it
    #: it differs, but only in tokens as near to the keyed draws as two honest passes may be: its
    #: own audit accepts it, and the ledger counts it
    is_tie: bool = False


@dataclass(frozen=True)
class GroupRow:
    """One measured group."""

    value: int  # its pay if it were accepted
    cost: float  # the cost of making it
    rollouts: tuple[RolloutRow, ...]
    fault: Reason | None  # the reason why it is refused when it is only read: an id or an ending

    @property
    def tokens(self) -> int:
        """The tokens of its completions."""
        return sum(rollout.tokens for rollout in self.rollouts)

    @cached_property
    def faults(self) -> list[Reason]:
        """The faults that can be found in it."""
        each = (self.fault, *(rollout.fault for rollout in self.rollouts))
        return [fault for fault in each if fault is not None]


def found_network(
    seed: bytes, timing: Timing, hotkeys: Mapping[str, bytes], genesis: Path, folder: Path
) -> tuple[SimulatedChain, MinerDependencies, Parameters]:
    """A network on the simulator, its miners' dependencies, and its parameters.

    Args:
        hotkeys: of all holders of a uid, including a "trainer".
        genesis: folder of the checkpoint in force.
        folder: for a copy of it and a store.
    """
    chain = SimulatedChain(
        seed, NETUID, _GENESIS_MS, timing.slot_ms, timing.tempo, tuple(hotkeys.values())
    )
    beacons = LocalBeacon(
        seed, _GENESIS_MS, 1_000, lambda: chain.get_block(chain.get_head()).timestamp_ms
    )
    digest = load_checkpoint(genesis).digest
    checkpoints = CheckpointFolder(folder / "models")
    checkpoints.add(genesis, digest)
    parameters = make_demo_parameters(
        chain.genesis_hash, beacons.chain, 0, hotkeys["trainer"], digest
    )
    store = open_folder(folder / "store")
    dependencies = MinerDependencies(chain, beacons, checkpoints, store, LOCATOR)
    return chain, dependencies, replace(parameters, timing=timing)


class AttackSetup:
    """One network in which all honest work is already known.

    Args:
        folder: for a model copy and a store.
        groups: number that is measured of each strategy.
        placement: where and how the judge's model runs.
    """

    def __init__(
        self, family: Family, folder: Path, groups: int, placement: Placement | None = None
    ) -> None:
        self.family = family
        self.groups = groups
        self.hotkeys = {name: sha256(name.encode()).digest() for name in _NAMES}
        self._chain, self._outside, self.parameters = found_network(
            b"gauntlet", DEMO_TIMING, self.hotkeys, family.folder, folder
        )
        if family.name == BENCH:
            work = replace(DEMO_WORK, group_size=16, max_tokens=BENCH_TOKENS)
            self.parameters = replace(self.parameters, work=work)
        elif family.name == EPISODES:
            world = parse_environment(EPISODES_WORLD)
            self.parameters = replace(self.parameters, work=EPISODES_WORK, environment=world)
        self.beacons = self._outside.beacons
        self.judged = load_checkpoint(family.folder, placement=placement)
        self.checkpoint = self._outside.checkpoints.get(self.judged.digest, self.parameters)
        self.context = self._open_context(1)
        self.work = self.open_work(1)
        temperature = self.parameters.work.temperature
        judging = self.judged.models.placement.implementation
        if judging == DEFAULT_IMPLEMENTATION:
            judging = APPEAL_IMPLEMENTATION  # another one than the miners'
        self.forward = RememberingForward(self.judged.get_reference(temperature, judging))
        self._honest: dict[tuple[str, int], list[Group]] = {}

    def _open_context(self, window: int) -> Context:
        while True:
            challenge = get_challenge(self._chain, self.beacons, self.parameters, window)
            if challenge is not None:
                context = get_context(self._chain, self.beacons, self.parameters, challenge)
                if context is not None and context.sample is not None:
                    return context
            self._chain.mint()

    def open_work(self, window: int) -> WindowWork:
        challenge = get_challenge(self._chain, self.beacons, self.parameters, window)
        if challenge is None:
            raise ValueError(f"window {window} is not open")
        return make_work(challenge, self.checkpoint)

    def get_honest(self, name: str, window: int) -> list[Group]:
        """A hotkey's honest groups of a window, made once."""
        if (name, window) not in self._honest:
            miner = self._open_miner(Miner, name, self.groups)
            work = self.work if window == 1 else self.open_work(window)
            self._honest[name, window] = miner.generate(work, range(self.groups))
        return self._honest[name, window]

    @cached_property
    def inputs(self) -> AttackInputs:
        """The inputs of strategies in this setup."""
        models = dict(self.family.others)
        miner = self._open_miner(Miner, "attacker", self.groups)
        passages = [
            (miner.make_request(self.work, index).prompt, tuple(rollout.tokens.tolist()))
            for index, group in enumerate(self.get_honest("attacker", 1))
            for rollout in group
        ]
        if self.parameters.work.turns == 1:  # the only ones of which it learns
            models["stale"] = make_stale(self.checkpoint.model, passages[:_STALE_PASSAGES])
        return AttackInputs(
            models,
            lambda index: self.get_honest("attacker", 1)[index],
            lambda index: self.get_honest("victim", 1)[index],
            lambda index: self.get_honest("attacker", 0)[index],
        )

    @cached_property
    def mean_gini(self) -> float:
        """Mean Gini impurity over the honest tokens."""
        miner = self.make_miner(Strategy, self.groups)
        values = []
        for index, group in enumerate(self.get_honest("attacker", 1)):
            rows = [rollout.tokens for rollout in group]
            measured = self.measure_tokens(miner.make_request(self.work, index), rows)
            values += [m.gini for m in measured]
        return float(np.concatenate(values).mean())

    def measure_tokens(
        self, request: GroupRequest, completions: Sequence[NDArray[np.uint32]]
    ) -> list[Measurement]:
        """The measurements of the judge's reference for completions of one group."""
        return self.forward.measure(
            [request.prompt] * len(completions),
            completions,
            request.seeds,
            self.work.projection,
            list_replies(request, completions),
        )

    def make_miner(self, kind: type[_S], groups: int) -> _S:
        """A strategy in the attacker's seat."""
        miner = self._open_miner(kind, "attacker", groups)
        miner.inputs = self.inputs
        return miner

    def _open_miner(self, kind: type[_M], name: str, groups: int) -> _M:
        config = MinerConfig(groups, groups)
        return kind(
            name,
            self.hotkeys[name],
            ParameterHistory(self.parameters),
            self._outside,
            config,
            print,
        )

    def is_possible(self, kind: type[Strategy]) -> bool:
        """Return whether this family has the models and the turns that the strategy needs."""
        if self.parameters.work.turns > 1:
            if not kind.plays:
                return False
        elif kind.needs_turns:
            return False
        if kind.needs_end:
            ends = self.checkpoint.manifest.end_tokens
            group = self.get_honest("attacker", 1)[0]
            return any(int(rollout.tokens[-1]) in ends for rollout in group)
        return kind.role is None or kind.role in self.inputs.models

    def measure(self, kind: type[Strategy]) -> list[GroupRow]:
        """The strategy's groups. Each is valued, and each differing rollout is judged by itself."""
        count = min(self.groups, kind.groups_max or self.groups)
        miner = self.make_miner(kind, count)
        groups = miner.generate(self.work, range(count))
        honest = self.get_honest("attacker", 1)
        cost = miner.bill.units / count
        rows = []
        for index, (examined, group) in enumerate(zip(self.examine(groups), groups, strict=True)):
            rollouts = []
            for r, (rollout, other) in enumerate(zip(group, honest[index], strict=True)):
                differs = not _is_same(rollout, other, int(self.parameters.work.turns > 1))
                fault, is_tie = None, False
                if differs:
                    fault, is_tie = self.find_fault(miner, index, r, rollout)
                rollouts.append(RolloutRow(len(rollout.tokens), differs, fault, is_tie))
            if isinstance(examined, Refused):
                rows.append(GroupRow(0, cost, tuple(rollouts), examined.reason))
            else:
                verdict = examined.presume()
                if isinstance(verdict, Accepted):
                    value, fault = sum(group.value for group in verdict.groups), None
                else:
                    value, fault = 0, verdict.reason
                rows.append(GroupRow(value, cost, tuple(rollouts), fault))
        self.forward.forget()
        return rows

    def commit(self, groups: Sequence[Group]) -> tuple[bytes, Context]:
        """The attacker's file, and the window in which its root is on chain."""
        hotkey, context = self.hotkeys["attacker"], self.context
        data, root = encode_submission(
            groups,
            parameters=self.parameters.digest,
            window=context.window,
            hotkey=hotkey,
            checkpoint=context.checkpoint,
            id_bits=get_id_bits(len(self.judged.tokenizer.drawable)),
        )
        committed = Committed(root, len(groups), context.challenge_block.number, LOCATOR)
        return data, replace(context, commitments={hotkey: committed})

    def examine(self, groups: Sequence[Group]) -> list[Refused | Examined]:
        """The judge's findings on each group alone before it runs the model."""
        data, context = self.commit(groups)
        submission, hotkey = MemorySubmission(data), self.hotkeys["attacker"]
        return [
            examine_file(submission, hotkey, context, self.judged, [index])
            for index in range(len(groups))
        ]

    def find_fault(
        self, miner: Miner, index: int, number: int, rollout: Rollout
    ) -> tuple[Reason | None, bool]:
        """The reason why one rollout alone is refused, by the judge's own tests; and whether it is
        a tie."""
        manifest, tests = self.checkpoint.manifest, self.parameters.tests
        tokens, drawable = rollout.tokens, self.checkpoint.tokenizer.drawable
        if not drawable[np.minimum(tokens, len(drawable) - 1)].all():
            return Reason.TOKEN_OUT_OF_RANGE, False
        is_end = np.isin(tokens, manifest.end_tokens)
        if len(tokens) != find_stop(is_end, self.parameters.work.turns, manifest.max_tokens):
            return Reason.WRONG_TERMINATION, False
        request, replies = miner.make_request(self.work, index), None
        if request.play is not None:
            episode = request.play.replay(tokens.tolist())
            if find_length_fault(episode, len(tokens), index, number) is not None:
                return Reason.WRONG_TERMINATION, False
            replies = [episode.replies]
        (m,) = self.forward.measure(
            [request.prompt], [tokens], [request.seeds[number]], self.work.projection, replies
        )
        seed = self.context.audit_seed
        positions = select_positions(seed, miner.hotkey, index, number, len(tokens))
        sampling = judge_sampling(
            m.margins, m.gini, self.judged.calibration, tests, self.parameters.work.temperature
        )
        if judge_sketch(rollout.sketch, m.sketch, tests).token is not None:
            return Reason.SKETCH_MISMATCH, False
        if judge_logprobs(rollout.logprobs, m.logprobs, positions, tests).token is not None:
            return Reason.LOGPROB_MISMATCH, False
        if sampling.token is not None:
            return Reason.SAMPLING_MISMATCH, False
        return None, 0 < m.margins.max() <= tests.margin_cap


def _is_same(one: Rollout, other: Rollout, unit: int) -> bool:
    """Whether two rollouts are equal, but for so many units in their proofs: those of episodes are
    read in stretches, and each drafter makes others."""
    return np.array_equal(one.tokens, other.tokens) and all(
        np.abs(getattr(one, column).astype(int) - getattr(other, column).astype(int)).max() <= unit
        for column in ("logprobs", "sketch")
    )
