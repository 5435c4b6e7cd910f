"""The results of an audit: checked, different, and not known.

There are five kinds. A *difference* is a lie or a mistake: public data differ. *Not checked* is a
part that could not be looked at: a file that its miner no longer serves, state that the nodes have
pruned. A *claim* is a part that only a model can decide, and that was taken on trust because there
was none. A *note* is a fact that nobody can prove either way afterwards, such as a file that exists
now and was reported missing then. A *fault of the trainer's course* is a lie or a mistake, too, but
not the validator's, whose record may be right.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from assay.protocol.record import SettlementRecord, WindowRecord
from assay.session.gate_evidence import CourseFault

#: Most differences that are kept of one window. The first says what is wrong.
DIFFERENCES_MAX = 32
#: Most faults of the trainer's course that are kept of one window.
FAULTS_MAX = 32
#: Ends of notes that a development network always gets: its validator begins late, and a demo's
#: announces nothing.
NO_INPUTS = "the record has no inputs of this window"
NO_RECORD = (
    "of its epoch have no record: the validator had not begun, was away, or left them out; nobody "
    "can prove which"
)
ABSTAINED_EARLY = "the validator abstained before the window's inputs were known"
ABSTAINED = "the validator abstained; nobody can prove whether it had to"
UNANNOUNCED = (
    "its slot on chain announces no record, so it can show different records to different readers"
)
#: Text for state that the nodes have forgotten.
FORGOTTEN = "the nodes have forgotten block {}'s state: it needs an archive endpoint"


class Aspect(StrEnum):
    """The parts that are derived again, in order: docs/auditor.md; of steps: docs/steps.md."""

    RECORD = "record"
    COPIES = "copies"
    ANNOUNCED = "announced"
    LINK = "link"
    PARAMETERS = "parameters"
    BLOCKS = "blocks"
    BEACONS = "beacons"
    CHECKPOINT = "checkpoint"
    COURSE = "course"
    MEMBERS = "members"
    COMMITMENTS = "commitments"
    FILES = "files"
    VALUES = "values"
    SCORES = "scores"
    VERDICTS = "verdicts"
    WITNESS = "witness"
    GROUPS = "groups"
    LOGPROBS = "log-probabilities"
    CHOICE = "choice"
    WINDOWS = "windows"
    SETTLED = "settled scores"
    ROOT = "score root"
    WEIGHTS = "weights"
    CHAIN = "weights on chain"
    LEDGER = "ledger"


@dataclass(slots=True)
class Findings:
    """The findings of one window or one settlement."""

    number: int  # the window, or the settlement's epoch block
    #: checks that were made at all
    looked: dict[Aspect, None] = field(default_factory=dict)
    differences: list[tuple[Aspect, str]] = field(default_factory=list)
    unknown: list[tuple[Aspect, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: what the trainer did wrong in its course; none of it is the validator's
    course_faults: list[CourseFault] = field(default_factory=list)
    claims: int = 0  # verdicts taken on trust because there was no model
    words: int = 0  # verdicts that nobody can check: they cost a miner its pay
    witnessed: int = 0  # verdicts whose witness is of the validator's own forward pass
    unwitnessed: int = 0  # verdicts whose witness is of no forward pass of the validator's own

    def look(self, check: Aspect) -> None:
        """Note that a check is made now."""
        self.looked[check] = None

    def take_word(self, sentence: str) -> None:
        """Note a verdict that nobody can check afterwards, and why."""
        self.words += 1
        self.notes.append(sentence)

    def differ(self, check: Aspect, sentence: str) -> None:
        """Note that public data differ."""
        self.looked[check] = None
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append((check, sentence))

    def differ_all(self, check: Aspect, sentences: Iterable[str]) -> None:
        """Note each of these, if there are any."""
        for sentence in sentences:
            self.differ(check, sentence)

    def blame(self, fault: CourseFault) -> None:
        """Note a fault of the trainer's course."""
        self.looked[Aspect.COURSE] = None
        if len(self.course_faults) < FAULTS_MAX:
            self.course_faults.append(fault)

    def miss(self, check: Aspect, sentence: str) -> None:
        """Note that a part could not be looked at, and why."""
        self.unknown.append((check, sentence))

    def add(self, part: "Findings") -> None:
        """Add the findings of a part after all earlier ones."""
        self.looked |= part.looked
        self.differences += part.differences[: DIFFERENCES_MAX - len(self.differences)]
        self.unknown += part.unknown
        self.notes += part.notes
        self.course_faults += part.course_faults[: FAULTS_MAX - len(self.course_faults)]
        self.claims += part.claims
        self.words += part.words
        self.witnessed += part.witnessed
        self.unwitnessed += part.unwitnessed

    @property
    def matched(self) -> bool:
        """Return whether everything was looked at and nothing differs."""
        return not self.differences and not self.unknown

    @property
    def checked(self) -> list[Aspect]:
        """The aspects that were checked in full."""
        missed = {check for check, _ in self.unknown}
        return [check for check in Aspect if check in self.looked and check not in missed]

    def to_json(self, name: str) -> dict[str, Any]:
        """The findings as JSON. `name` is the kind of the number."""
        document: dict[str, Any] = {
            name: self.number,
            "matched": self.matched,
            "checked": [check.value for check in self.checked],
            "differences": _list(self.differences),
            "not_checked": _list(self.unknown),
            "claims": self.claims,
            "words": self.words,
            "notes": self.notes,
            "course_faults": [describe_fault(fault) for fault in self.course_faults],
        }
        if self.differences:
            document["first_difference"] = self.differences[0][1]
        return document


def describe_fault(fault: CourseFault) -> dict[str, Any]:
    """A fault of a course as JSON: `problem` and `model` are null where it is about no answer."""
    return {
        "checkpoint": fault.checkpoint.hex(),
        "problem": fault.problem,
        "model": None if fault.model is None else fault.model.name.lower(),
        "what": fault.what,
    }


def _list(entries: Iterable[tuple[Aspect, str]]) -> list[dict[str, str]]:
    return [{"check": check.value, "what": sentence} for check, sentence in entries]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The whole audit."""

    validator: bytes
    windows: tuple[Findings, ...]
    settlements: tuple[Findings, ...]
    has_model: bool
    is_local: bool  # of a development network: its beacons are not quicknet's
    #: the records that were read, by epoch block and by window
    settlement_records: Mapping[int, SettlementRecord] = field(default_factory=dict)
    window_records: Mapping[int, WindowRecord] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Return whether anything differs from the validator's claims."""
        return any(part.differences for part in (*self.windows, *self.settlements))

    @property
    def has_course_faults(self) -> bool:
        """Return whether the trainer did something wrong in its course."""
        return any(part.course_faults for part in self.windows)

    @property
    def matched(self) -> bool:
        """Return whether everything was looked at and nothing differs."""
        return all(part.matched for part in (*self.windows, *self.settlements))

    def get_state(self, *checks: Aspect) -> bool | None:
        """Return whether these checks of all settlements found nothing; None if one was not
        made."""
        if any(check in checks for part in self.settlements for check, _ in part.differences):
            return False
        done = [set(checks) <= set(part.checked) for part in self.settlements]
        return True if done and all(done) else None
