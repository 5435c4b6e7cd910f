"""The explorer's ports: a record, and optional sources around it.

`assay.explorer.sources` has the adapters. All text from a port is untrusted until a template has
escaped it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from assay.artifacts.announced_parameters import AnnouncedParameters
from assay.artifacts.discovery import fetch_predecessors
from assay.artifacts.ports import Objects
from assay.artifacts.records.reader import STATISTICS_BYTES as STATISTICS_BYTES
from assay.artifacts.records.reader import RecordReader, open_reader
from assay.artifacts.status.validator import WindowStatus as WindowStatus
from assay.artifacts.store_objects import UnavailableError
from assay.explorer.documents.curves import Curve
from assay.explorer.documents.proposals import PoolSummary, ProposalRow, ProposalStep
from assay.explorer.documents.settlements import EntryFields
from assay.explorer.documents.training import (
    AccuracyPoint,
    CourseEndRow,
    CourseOutcome,
    LevelRow,
    MeasuredRow,
    RuleRow,
    WatchedRow,
)
from assay.explorer.documents.windows import GroupFacts, ReadingLack, TokenRow, TurnRow
from assay.protocol.amendment import ParameterHistory
from assay.protocol.context import Context
from assay.protocol.errors import Trouble
from assay.protocol.parameters import Gate, Identity, Parameters, Timing
from assay.protocol.window import Phase, compute_block, compute_window


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """The record that pages show. validator: hotkey, 32 bytes. place: where it is, for people."""

    validator: bytes
    history: ParameterHistory
    objects: Objects
    place: str
    #: finds parameters by their digest, for amendments that the record names later; its answer is
    #: None if they are unavailable. None here: the history is read from the chain instead
    find: Callable[[bytes], Parameters | None] | None = None

    @property
    def reader(self) -> RecordReader:
        return open_reader(self.objects, self.validator, self.history)

    @property
    def identity(self) -> Identity:
        """The network's identity, of which only the burn share may change."""
        return self.history.first.identity

    def get_parameters(self, window: int) -> Parameters:
        """The parameters of a window, or the latest earlier ones if its own cannot be read."""
        return self.history.get_at(compute_block(self._timing, window, Phase.CHALLENGE))

    def get_window(self, block: int) -> int:
        """The window that a block belongs to."""
        return compute_window(self._timing, block)

    def follow(self, digest: bytes) -> None:
        """Find parameters that the record names. Add them if they follow the known ones."""
        known = {parameters.digest for parameters in self.history.all}
        try:
            path = fetch_predecessors(self._fetch, digest, known)
            if path and path[0].start.predecessor in known:
                for parameters in path:
                    self.history.add(parameters)
        except (UnavailableError, ValueError):
            return

    @property
    def _timing(self) -> Timing:
        return self.history.first.timing

    def _fetch(self, digest: bytes) -> Parameters:
        parameters = None if self.find is None else self.find(digest)
        if parameters is None:
            raise UnavailableError(f"parameters {digest.hex()[:16]}… are not here")
        return parameters


@dataclass(frozen=True, slots=True)
class Live:
    """The present state."""

    head: int  # the newest final block that is known
    moving: bool  # whether newer ones are expected: not after the run's end
    program: str  # what says so, for people
    #: what its program waits for that should not be so; None while all is well
    trouble: Trouble | None = None
    windows: Sequence[WindowStatus] = ()  # of its validator, the newest last
    #: since when there is trouble, Unix milliseconds, where that is known
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ShownWeights:
    """A validator's weights as a chain shows them at a block: uid → u16."""

    block: int
    weights: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Uid:
    """The holder of a uid on chain. hotkey, coldkey: 32 bytes; stake: rao of alpha; permit: whether
    it may set weights; incentive: u16 share of the miners' pay at the last epoch; emission: rao of
    alpha that the last epoch paid; records: whether its slot names a record."""

    uid: int
    hotkey: bytes
    coldkey: bytes
    registered_at: int
    stake: int
    permit: bool
    incentive: int
    emission: int
    records: bool = False


@dataclass(frozen=True, slots=True)
class Neurons:
    """All uids of the subnet at a block. price: rao of tao for one alpha, by its pool; None: that
    could not be read."""

    block: int
    rows: Sequence[Uid]
    price: int | None = None


@dataclass(frozen=True, slots=True)
class EntryStatus:
    """A settlement's entry on its way to the ledger, or there.

    transaction: hash, hex, if one was sent. block: of the EVM. entry: its content, if the folder
    has all of it.
    """

    epoch: int
    state: str
    transaction: str | None
    block: int | None
    trouble: Trouble | None
    entry: EntryFields | None


@dataclass(frozen=True, slots=True)
class EntryEvent:
    """A settlement's entry in the ledger's event. block: of the EVM; transaction: hash, hex."""

    epoch: int
    block: int
    transaction: str
    entry: EntryFields


@dataclass(frozen=True, slots=True)
class LedgerReading:
    """The ledger's events, as far as they were read."""

    node: str  # their source, for people
    head: int | None  # the EVM's newest block; None before the first answer
    #: all events from this block up to the head were read; None before the first answer
    first: int | None
    confirmations: int  # blocks on top of an entry before it counts as final
    trouble: Trouble | None  # what keeps it from being read on; None while nothing does
    since_ms: int | None  # when the node answered last, Unix milliseconds, where there is trouble
    posted: Mapping[int, EntryEvent]


@dataclass(frozen=True, slots=True)
class CheckpointOrigin:
    """The origin that a checkpoint's manifest states. Digests in hex; None: it has none, or the
    manifest is unknown."""

    number: int | None = None
    parent: str | None = None
    step: str | None = None
    levels: tuple[LevelRow, ...] = ()  # in force; empty where the manifest does not state them
    outcome: CourseOutcome | None = None  # what it makes of its course; None: it has none


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """A step from one checkpoint to the next, which learned from `groups` groups of a window.
    parent, child: digests of the checkpoints; record: of the step's record; all hex."""

    number: int
    window: int
    groups: int
    parent: str
    child: str
    record: str


@dataclass(frozen=True, slots=True)
class Training:
    """A trainer's published records."""

    steps: Sequence[TrainingStep] = ()
    points: Sequence[AccuracyPoint] = ()


@dataclass(frozen=True, slots=True)
class GateReading:
    """What a line of checkpoints has shown by its gate, by manifests whose digests match.

    sentence: the newest gain. course: where the newest course stands. is_whole: whether that is all
    from the first checkpoint on.
    """

    sentence: str
    course: str
    is_whole: bool
    measured: Sequence[MeasuredRow]
    ends: Sequence[CourseEndRow]


@dataclass(frozen=True, slots=True)
class CourseReading:
    """What a course does, and by which figures, as `assay.training.watch` judges it.

    is_own: whether the figures are the trainer's own; else they follow from its steps' groups.
    sentence: the verdict in one line. rules: in the order of naming. rows: windows, in order.
    """

    is_own: bool
    state: str
    sentence: str
    rules: Sequence[RuleRow]
    rows: Sequence[WatchedRow]


@dataclass(frozen=True, slots=True)
class ProposalsReading:
    """The pool of the newest checkpoint, and what the steps that were read say of it.

    checkpoint: its number. sentence: the figures in one line. rows: newest proposals first, without
    names. steps: newest first. waiting: how many steps are to be read yet; unread: numbers of the
    checkpoints whose steps cannot be read.
    """

    checkpoint: int
    sentence: str
    pool: PoolSummary
    rows: Sequence[ProposalRow]
    steps: Sequence[ProposalStep]
    waiting: int
    unread: Sequence[int]


@dataclass(frozen=True, slots=True)
class TrainerChild:
    """The fate of one trainer's child in a round.

    hotkey: SS58; child: its record's digest, hex; said: the finding of the merge's record; found:
    the finding of a later re-derivation, None without one; detail: the reason that the
    re-derivation gave, one sentence or nothing.
    """

    hotkey: str
    child: str | None
    said: str
    found: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class RepeatedStep:
    """A step of a child, repeated. equal: None if it could not be, or the machines differ."""

    hotkey: str
    window: int
    equal: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class MergedRound:
    """A round of several trainers, as far as it is known.

    end: the first window after it, its checkpoint's number; checkpoint, parent: digests, hex;
    measurer: SS58 of its publisher; derived: whether it was derived again here; fault: why its
    checkpoint differs from the round's result.
    """

    end: int
    checkpoint: str
    parent: str | None
    measurer: str | None
    children: Sequence[TrainerChild]
    derived: bool
    fault: str | None
    repeated: Sequence[RepeatedStep]


@dataclass(frozen=True, slots=True)
class RolloutReading:
    """One rollout, read from its miner's file. reward: millionths; parts: name → millionths;
    turns: of an episode, else empty; end: why it ended; ended_at: after how many tokens;
    log_capital: natural logarithm of the sampling martingale; None without a forward pass."""

    number: int
    tokens: Sequence[TokenRow]
    completion: str
    reward: int
    parts: Mapping[str, int]
    turns: Sequence[TurnRow] = ()
    end: str | None = None
    ended_at: int | None = None
    log_capital: float | None = None
    sketch_mean: float | None = None
    sketch_block: float | None = None
    logprob_rms: float | None = None


@dataclass(frozen=True, slots=True)
class GroupReading:
    """One group of a miner's file. audited: numbers of the rollouts that the audit draws,
    ascending."""

    facts: GroupFacts
    audited: Sequence[int]
    rollouts: Sequence[RolloutReading]


@dataclass(frozen=True, slots=True)
class IndexedRollout:
    """A rollout as the index of rollouts holds it.

    reward: millionths; advantage: in whole rewards, None: its group taught nothing; tokens: its
    own; surprise: mean −ln p of these, nats, None: nobody says it; end: one of
    `assay.explorer.labels.ENDS`, None: unknown; tools: names of those that it called; text: the
    completion, of an episode with the replies.
    """

    number: int
    reward: int
    advantage: float | None
    tokens: int
    surprise: float | None
    end: str | None
    tools: Sequence[str]
    text: str


@dataclass(frozen=True, slots=True)
class IndexedGroup:
    """A group of rollouts as the index holds it. hotkey: SS58 of who generated it; level, step:
    None: unknown, or no step learned from it; prompt: as the model reads it."""

    window: int
    hotkey: str
    number: int
    level: int | None
    environment: str
    step: int | None
    prompt: str
    rollouts: Sequence[IndexedRollout]


@dataclass(frozen=True, slots=True)
class RolloutPart:
    """Groups of a file. next: where the next part begins; None: this is the last one."""

    groups: Sequence[IndexedGroup]
    next: int | None = None


@dataclass(frozen=True, slots=True)
class RolloutFile:
    """A file of rollouts, whose content does not change: a step's, or one of an export. name: by
    which the index knows it; kind: step or export."""

    name: str
    kind: str
    path: str


class RolloutSource(Protocol):
    """Where the index of rollouts comes from. Every call is bounded in time, and takes what a
    helper needs for it."""

    def list_files(self, steps: Sequence[str]) -> Sequence[RolloutFile]:
        """The files that there are, the newest first. steps: digests of the records of published
        steps, hex, in order, for where the trainer's folder is not at hand."""

    def read_part(self, file: RolloutFile, first: int) -> RolloutPart | str:
        """A part of a file, from one's `next` on; or why it cannot be read, for pages."""

    def read_audited(
        self, context: Context, hotkey: bytes, groups: Sequence[int]
    ) -> RolloutPart | str:
        """Those of a miner's groups that its store still serves, whole."""

    def close(self) -> None:
        """End the helpers."""


@dataclass(frozen=True, slots=True)
class AuditCommand:
    """A command that re-derives windows and their settlements.

    first, last: the windows that it covers, maybe fewer than requested. runs_model: whether it
    repeats every forward pass.
    """

    text: str
    first: int
    last: int
    runs_model: bool


class Commands(Protocol):
    """The commands that re-derive a page's content. None: no command can."""

    def audit(self, first: int, last: int) -> AuditCommand | None:
        """Re-derive as many of these windows, with their settlements, as possible."""

    def compare(self, epoch: int, first: int, last: int, miner: str | None) -> str | None:
        """Compare a settlement with its entry on the EVM.

        Args:
            first, last: the settlement's windows.
            miner: one of its miners, SS58.
        """

    def verify(self, window: int, hotkey: str) -> str | None:
        """Verify one submission."""

    def explain(self, window: int, hotkey: str) -> str | None:
        """Explain why a miner's window was accepted or refused, and its pay."""

    def training(self) -> str | None:
        """Repeat the newest training step."""

    def watch(self) -> str | None:
        """Judge the trainer's course."""

    def proposals(self) -> str | None:
        """List the newest proposals."""

    def audit_round(self, checkpoint: str | None) -> str | None:
        """Audit the round that made a checkpoint, digest in hex. None: the checkpoint in force."""

    def gauntlet(self, table: Mapping[str, Any]) -> str | None:
        """Measure a table of attacks again, with the same options."""

    def compare_validators(self, windows: tuple[int, int] | None) -> str | None:
        """Compare validators over these windows, first and last. None: the newest."""


def _know_nothing(*_: object) -> None:
    """The answer of a source that is not there."""


def _know_no_pay(epochs: Sequence[int]) -> Mapping[int, Sequence[Uid]]:
    """The answer without a chain."""
    return {}


@dataclass(slots=True)
class PageSources:
    """Sources around the record: each is the function that answers pages. None raises: data that
    cannot be read now counts as missing."""

    commands: Commands
    has_model: bool  # whether rollouts can be run again
    ledger_link: str | None  # address of an EVM explorer, checked; None: none is named
    contract: str | None  # address of the ScoreLedger, if it is known
    read_live: Callable[[], Live | None]
    #: parameters that do not hold yet, in order, by the newest block; None: no block is known
    list_announced: Callable[[int | None], Sequence[AnnouncedParameters]]
    #: the validator's weights as the chain shows them after an epoch: the wanted ones (uid → u16)
    #: if it ever shows them, otherwise the first ones
    read_shown: Callable[[int, Mapping[int, int]], ShownWeights | None]
    read_training: Callable[[], Training | None]
    #: what the trainer's course does; waits for so many seconds at most. Takes the digests of the
    #: records of published steps, hex, in order, for where the trainer's folder is not at hand
    read_course: Callable[[Sequence[str], float], CourseReading | ReadingLack]
    #: the newest proposals and who solved them; waits for so many seconds at most, and reads one
    #: step more each time. Takes the same digests
    read_proposals: Callable[[Sequence[str], float], ProposalsReading | ReadingLack]
    read_beside: Callable[[], Mapping[str, Sequence[Curve]]]  # other runs' curves, by their names
    #: the output of `assay audit compare --json`, not checked; None: there is no comparison here
    read_comparison: Callable[[], Mapping[str, Any] | None]
    #: the origin of a checkpoint, by its digest
    read_manifest: Callable[[bytes], CheckpointOrigin | None]
    #: what a checkpoint wrongly says of its parent, by its digest and the gate of its parameters;
    #: None: nothing, or one of the two manifests is not at hand
    find_lie: Callable[[bytes, Gate], str | None]
    #: what the line up to a checkpoint has shown, by its digest and the gate of its parameters
    read_gate: Callable[[bytes, Gate], GateReading | None]
    #: rounds that are known, the newest first; takes origins by the checkpoints' digests, hex
    list_rounds: Callable[[Mapping[str, CheckpointOrigin]], Sequence[MergedRound]]
    #: the last table of `assay gauntlet --json`, not checked
    read_gauntlet: Callable[[], Mapping[str, Any] | None]
    #: the results of `assay eval` and of the trainer's evaluations, not checked, the newest first;
    #: an invalid one is empty
    read_evaluations: Callable[[], Sequence[Mapping[str, Any]]]
    #: a group of the file of a miner, a hotkey of 32 bytes, measured again if there is a model;
    #: waits for so many seconds at most
    read_group: Callable[[Context, bytes, int, float], GroupReading | ReadingLack]
    #: what the index of rollouts is made of; None: nothing is
    rollouts: RolloutSource | None = None
    #: the subnet's neurons, at most a minute old while the chain answers; None: no chain is named,
    #: or it has not answered yet
    read_neurons: Callable[[], Neurons | None] = _know_nothing
    #: what the chain's epochs at these blocks paid, of those that were read since the last call:
    #: each is told once, the others are read meanwhile. It waits for no node
    read_pay: Callable[[Sequence[int]], Mapping[int, Sequence[Uid]]] = _know_no_pay
    #: the ledger's own events from a block on, as far as they are read: it waits for no node. None:
    #: no EVM node is named
    read_ledger: Callable[[int], LedgerReading | None] = _know_nothing
    #: the entries that a validator's folder lists as posted, newest first; None without such a
    #: folder
    list_posts: Callable[[], Sequence[EntryStatus] | None] = _know_nothing
    #: hotkey in SS58 → a name for people, if a run has given it one
    get_names: Callable[[], Mapping[str, str]] = dict
    #: of an epoch and a hotkey in SS58: the block that paid the settlement, and the hotkey's pay, a
    #: u16 share of the miners' pay. None: no run has recorded it
    read_payment: Callable[[int, str], tuple[int, int] | None] = _know_nothing
