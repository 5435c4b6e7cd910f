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
from assay.artifacts.store_objects import UnavailableError
from assay.explorer.documents.curves import Curve
from assay.protocol import Context, Parameters, Phase
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import Identity, Timing
from assay.protocol.window import compute_block, compute_window


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """Whose record is shown. validator: its hotkey, 32 bytes. place: where it lies, for people."""

    validator: bytes
    history: ParameterHistory
    objects: Objects
    place: str
    #: parameters by their digest, for amendments that the record comes to name; None of those that
    #: are not to be had. None: the chain says which hold, and the history is followed there
    find: Callable[[bytes], Parameters | None] | None = None

    @property
    def reader(self) -> RecordReader:
        return open_reader(self.objects, self.validator, self.history)

    @property
    def identity(self) -> Identity:
        """The network's, whose burn share alone may change."""
        return self.history.first.identity

    def get_parameters(self, window: int) -> Parameters:
        """The parameters of a window, or the latest earlier ones if its own cannot be read."""
        return self.history.get_at(compute_block(self._timing, window, Phase.CHALLENGE))

    def get_window(self, block: int) -> int:
        """The window that a block is one of."""
        return compute_window(self._timing, block)

    def follow(self, digest: bytes) -> None:
        """Looks for parameters that the record names, and adds them where they follow those that
        are known."""
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
        found = None if self.find is None else self.find(digest)
        if found is None:
            raise UnavailableError(f"parameters {digest.hex()[:16]}… are not here")
        return found


@dataclass(frozen=True, slots=True)
class Live:
    """The present state."""

    head: int  # the newest final block that is known
    moving: bool  # whether newer ones are expected: not after the run's end
    program: str  # what says so, for people
    #: what its program waits for that should not be so; None while all is well
    trouble: str | None = None
    #: those that are not settled yet, the newest last: window, state, and a verdict's reason and
    #: score by hotkey in SS58
    windows: Sequence[Mapping[str, Any]] = ()
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
    alpha that the last epoch paid."""

    uid: int
    hotkey: bytes
    coldkey: bytes
    registered_at: int
    stake: int
    permit: bool
    incentive: int
    emission: int


@dataclass(frozen=True, slots=True)
class Neurons:
    """All uids of the subnet at a block."""

    block: int
    rows: Sequence[Uid]


@dataclass(frozen=True, slots=True)
class EntryStatus:
    """A settlement's entry on its way to the ledger, or there.

    transaction: hash, hex, where one was sent. block: of the EVM. entry: what is posted, JSON.
    """

    epoch: int
    state: str
    transaction: str | None
    block: int | None
    trouble: str | None
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EntryEvent:
    """A settlement's entry as the ledger's event has it: `score_root`, `record_digest`,
    `checkpoint`, `weights_digest` in hex, `audit_round`; block: of the EVM; transaction: hash, hex.
    """

    epoch: int
    block: int
    transaction: str
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LedgerReading:
    """The ledger's events, as far as they were read."""

    node: str  # whom they come from, for people
    head: int | None  # the EVM's newest block; None before the first answer
    #: all events from this block up to the head were read; None before the first answer
    first: int | None
    confirmations: int  # blocks on top of an entry before it counts as final
    trouble: str | None  # what keeps it from being read on; None while nothing does
    since_ms: int | None  # when the node answered last, Unix milliseconds, where there is trouble
    posted: Mapping[int, EntryEvent]


@dataclass(frozen=True, slots=True)
class CheckpointOrigin:
    """The origin that a checkpoint's manifest states. Digests in hex; None for the first."""

    number: int
    parent: str | None
    step: str | None


@dataclass(frozen=True, slots=True)
class Training:
    """A trainer's published records. Shares are 0 to 1."""

    #: a row a checkpoint made: number, window, parent, child, record, groups, sources
    steps: Sequence[Mapping[str, Any]] = ()
    #: a row a checkpoint looked at: number, reward, and held-out correct, problems, value, low and
    #: high of the 95 % interval where it was tried
    points: Sequence[Mapping[str, Any]] = ()


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
    """A step of a child, done again. equal: None: it could not be, or the machines differ."""

    hotkey: str
    window: int
    equal: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class MergedRound:
    """A round of several trainers, as far as it is known.

    end: the first window after it, its checkpoint's number; checkpoint, parent: digests, hex;
    measurer: SS58 of who published it; derived: whether somebody derived it again here; fault: why
    its checkpoint differs from the round's result.
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
class TokenReading:
    """One token of a completion. Real quantities are in logits, nats and sketch steps."""

    id: int
    text: str  # as the tokenizer writes it
    logprob: float  # −ln p, as the miner claims it
    audited: bool  # whether the audit compares this position's log-probability, of this rollout
    #: margin, drawn, measured, distance: from a forward pass; None without one
    margin: float | None = None
    drawn: int | None = None
    measured: float | None = None
    distance: float | None = None


@dataclass(frozen=True, slots=True)
class RolloutReading:
    """One rollout, read from its miner's file. reward: millionths; parts: name → millionths;
    log_capital: natural logarithm of the sampling martingale; None without a forward pass."""

    number: int
    tokens: Sequence[TokenReading]
    completion: str
    reward: int
    parts: Mapping[str, int]
    log_capital: float | None = None
    sketch_mean: float | None = None
    sketch_block: float | None = None
    logprob_rms: float | None = None


@dataclass(frozen=True, slots=True)
class GroupReading:
    """One group of a miner's file. measured: whether the model was run; note: why not, and what it
    would take; audited: numbers of the rollouts that the audit draws, ascending."""

    prompt: str
    level: int
    measured: bool
    note: str | None
    audited: Sequence[int]
    rollouts: Sequence[RolloutReading]


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why something cannot be shown now. passing: it may be there a little later."""

    why: str
    passing: bool = False


@dataclass(frozen=True, slots=True)
class AuditCommand:
    """A command that re-derives windows and their settlements.

    first, last: the windows that it covers, which may be fewer than asked for. runs_model: whether
    it repeats every forward pass.
    """

    text: str
    first: int
    last: int
    runs_model: bool


class Commands(Protocol):
    """The commands that re-derive what a page shows. None where no command can."""

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

    def audit_round(self, checkpoint: str | None) -> str | None:
        """Audit the round that made a checkpoint, digest in hex. None: the checkpoint in force."""

    def gauntlet(self, table: Mapping[str, Any]) -> str | None:
        """Measure a table of attacks again, with the same options."""

    def compare_validators(self, windows: tuple[int, int] | None) -> str | None:
        """Compare validators over these windows, first and last. None: the newest."""


class PageSources(Protocol):
    """Sources around the record. All but `commands` are optional. No method raises: data that
    cannot be read now counts as missing."""

    commands: Commands
    has_model: bool  # whether rollouts can be run again
    ledger_link: str | None  # address of an EVM explorer, checked; None: none is named
    contract: str | None  # address of the ScoreLedger, as far as it is known

    def read_live(self) -> Live | None: ...
    def list_announced(self, head: int | None) -> Sequence[AnnouncedParameters]:
        """Parameters that do not hold yet, in their order, as the chain last said. Where no chain
        is read, those that are known to hold after the newest block's window; None: there is no
        such block."""

    def read_shown(self, epoch: int, wanted: Mapping[int, int]) -> ShownWeights | None:
        """The validator's weights as the chain shows them after an epoch: the wanted ones, if it
        ever does."""

    def read_neurons(self) -> Neurons | None:
        """The subnet's neurons, a minute old at most while the chain answers; None: no chain is
        named, or it has not answered yet."""

    def list_posts(self) -> Sequence[EntryStatus] | None:
        """The entries that a validator's folder lists as posted, newest first. None without such a
        folder."""

    def read_ledger(self, first: int) -> LedgerReading | None:
        """The ledger's own events from a block on; None: no EVM node is named. Waits for nobody:
        what is not read yet is not there."""

    def read_training(self) -> Training | None: ...
    def read_beside(self) -> Mapping[str, Sequence[Curve]]:
        """Other runs' curves, by the runs' names."""

    def read_comparison(self) -> Mapping[str, Any] | None:
        """Several validators beside each other, as `assay audit compare --json` prints it; None:
        nobody has compared them here."""

    def read_manifest(self, checkpoint: bytes) -> CheckpointOrigin | None: ...

    def list_rounds(self, origins: Mapping[str, CheckpointOrigin]) -> Sequence[MergedRound]:
        """Rounds that are known, the newest first. origins: digests of checkpoints, hex → what
        their manifests say."""

    def read_gauntlet(self) -> Mapping[str, Any] | None:
        """The last table, as `assay gauntlet --json` prints it."""

    def get_names(self) -> Mapping[str, str]:
        """Hotkey in SS58 → a name for people, where a run has given them some."""

    def read_payment(self, epoch: int, hotkey: str) -> tuple[int, int] | None:
        """The epoch block that paid a settlement, and what it paid a hotkey in SS58, u16 share of
        the miners' pay, where a run has noted it."""

    def read_group(self, context: Context, hotkey: bytes, group: int) -> GroupReading | Unavailable:
        """A group of a miner's file, measured again where there is a model. Waits for a bounded
        time."""
