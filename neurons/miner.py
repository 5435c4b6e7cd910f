"""The miner: from the challenge to a committed file, one bounded step at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from assay.environments import open_environment
from assay.inference import (
    Checkpoint,
    CheckpointError,
    DraftCount,
    GroupRequest,
    generate_groups,
)
from assay.network.store import ObjectStore
from assay.network.submission_file import write_submission
from assay.neurons.checkpoints import CheckpointFolder
from assay.neurons.ports import BeaconSource, Chain
from assay.neurons.submissions import open_checkpoint
from assay.neurons.windows import Challenge, get_challenge
from assay.protocol import (
    Commitment,
    Header,
    Parameters,
    Phase,
    Rollout,
    Tag,
    encode_commitment,
    encode_ss58,
)
from assay.protocol.commitment import make_object_name
from assay.protocol.parameters import PROTOCOL_VERSION
from assay.protocol.seeds import (
    compute_problem_seed,
    compute_projection_seed,
    compute_rollout_seed,
)
from assay.protocol.submission import compute_group_leaf, compute_submission_root, encode_rollout
from assay.protocol.window import compute_block, compute_window
from assay.verification import Projection, make_projection

Group = list[Rollout]
#: A commitment is sent this many blocks before it must stand in state.
_COMMIT_MARGIN = 3


@dataclass(frozen=True, slots=True)
class MinerConfig:
    """How much a miner does.

    Attributes:
        groups: a window, at most.
        groups_per_step: generated together.
        last_window: after it the miner rests; None for a miner that goes on.
    """

    groups: int
    groups_per_step: int
    last_window: int | None = None


@dataclass(slots=True)
class Work:
    """One window's work as it grows."""

    challenge: Challenge
    checkpoint: Checkpoint
    projection: Projection
    groups: list[Group] = field(default_factory=list)
    committed: bool = False


@dataclass(frozen=True, slots=True)
class Outside:
    """Everything a miner reaches: chain, beacons, checkpoints, its store and that store's URL."""

    chain: Chain
    beacons: BeaconSource
    checkpoints: CheckpointFolder
    store: ObjectStore
    locator: str


class Miner:
    """Generates the groups of each window in order and commits them in time.

    Args:
        report: called with one line when something is worth a person's notice.
    """

    def __init__(
        self,
        name: str,
        hotkey: bytes,
        parameters: Parameters,
        outside: Outside,
        config: MinerConfig,
        report: Callable[[str], None],
    ) -> None:
        self.name = name
        self.hotkey = hotkey
        self.count = DraftCount()
        self._parameters = parameters
        self._outside = outside
        self.config = config
        self._report = report
        self._work: Work | None = None
        self._skipped: int | None = None
        self.environment = open_environment(parameters.environment)

    @property
    def progress(self) -> tuple[int, int] | None:
        """(window, groups done so far) of the work at hand."""
        work = self._work
        return None if work is None else (work.challenge.window, len(work.groups))

    def step(self) -> bool:
        """Opens the current window, generates some of its groups, or commits."""
        head = self._outside.chain.get_head()
        work = self._work
        if work is not None and not work.committed:
            return self._advance(work, head)
        window = compute_window(self._parameters.timing, head)
        if window == self._skipped or (work is not None and work.challenge.window == window):
            return False
        if self.config.last_window is not None and window > self.config.last_window:
            return False
        self._work = self._open(window)
        return self._work is not None

    def _advance(self, work: Work, head: int) -> bool:
        """The next groups, or the commitment once all are done or the time is."""
        window = work.challenge.window
        due = compute_block(self._parameters.timing, window, Phase.COMMIT) - _COMMIT_MARGIN
        missing = self.config.groups - len(work.groups)
        if missing and head < due:
            first = len(work.groups)
            count = min(missing, self.config.groups_per_step)
            work.groups += self.generate(work, range(first, first + count))
            return True
        work.committed = True
        if work.groups:
            self._commit(work)
        else:
            self._report(f"{self.name}: no group of window {window} was finished in time")
        return False

    def generate(self, work: Work, indices: range) -> list[Group]:
        """The groups of these problems, honestly."""
        parameters = self._parameters
        requests = [self.make_request(work, index) for index in indices]
        rules = work.checkpoint.get_rules(parameters.work.temperature)
        drafter = work.checkpoint.get_drafter(parameters.work.temperature)
        reference = work.checkpoint.get_reference(parameters.work.temperature)
        return generate_groups(requests, drafter, reference, rules, work.projection, self.count)

    def make_request(self, work: Work, index: int) -> GroupRequest:
        """Prompt and rollout seeds of one problem."""
        seed = compute_problem_seed(work.challenge.seed, self.hotkey, index)
        problem = self.environment.make_problem(seed, work.checkpoint.manifest.levels)
        return GroupRequest(
            prompt=tuple(work.checkpoint.tokenizer.encode(problem.prompt)),
            seeds=tuple(
                compute_rollout_seed(work.challenge.seed, self.hotkey, index, rollout)
                for rollout in range(self._parameters.work.group_size)
            ),
        )

    def _open(self, window: int) -> Work | None:
        outside = self._outside
        challenge = get_challenge(outside.chain, outside.beacons, self._parameters, window)
        if challenge is None:
            return None
        try:
            checkpoint = open_checkpoint(
                outside.checkpoints, challenge.checkpoint, self._parameters
            )
        except CheckpointError as error:
            self._skipped = window
            self._report(f"{self.name}: cannot mine window {window}: {error}")
            return None
        seed = compute_projection_seed(challenge.seed)
        return Work(challenge, checkpoint, make_projection(seed, checkpoint.manifest))

    def upload(self, window: int, data: bytes) -> None:
        """Puts a window's file where its locator says."""
        self._outside.store.put(make_object_name(encode_ss58(self.hotkey), window), data)

    def _commit(self, work: Work) -> None:
        """Uploads the file, then binds its root on chain."""
        window = work.challenge.window
        header = Header(
            version=PROTOCOL_VERSION,
            parameters=self._parameters.digest,
            window=window,
            hotkey=self.hotkey,
            checkpoint=work.challenge.checkpoint,
            groups=len(work.groups),
        )
        self.upload(window, write_submission(header, work.groups))
        commitment = Commitment(
            tag=Tag.MINER,
            number=window,
            groups=len(work.groups),
            digest=compute_submission_root(header, compute_leaves(work.groups)),
            locator=self._outside.locator,
        )
        self._outside.chain.set_commitment(self.hotkey, encode_commitment(commitment))


def compute_leaves(groups: Sequence[Group]) -> list[bytes]:
    """Leaf of every group in order, 32 bytes each."""
    return [
        compute_group_leaf(index, [encode_rollout(rollout) for rollout in group])
        for index, group in enumerate(groups)
    ]
