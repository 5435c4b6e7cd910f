"""The results of an audit: checked, different, and not known.

There are four kinds. A *difference* is a lie or a mistake: public data differ. *Not checked* is a
part that could not be looked at: a file that its miner no longer serves, state that the nodes have
pruned. A *claim* is a part that only a model can decide, and that was taken on trust because there
was none. A *note* is a fact that nobody can prove either way afterwards, such as a file that exists
now and was reported missing then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from assay.protocol.record import SettlementRecord, WindowRecord

#: Most differences that are kept of one window. The first says what is wrong.
DIFFERENCES_MAX = 32
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

    def miss(self, check: Aspect, sentence: str) -> None:
        """Note that a part could not be looked at, and why."""
        self.unknown.append((check, sentence))

    def add(self, part: "Findings") -> None:
        """Add the findings of a part after all earlier ones."""
        self.looked |= part.looked
        self.differences += part.differences[: DIFFERENCES_MAX - len(self.differences)]
        self.unknown += part.unknown
        self.notes += part.notes
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
        }
        if self.differences:
            document["first_difference"] = self.differences[0][1]
        return document


def _list(entries: Iterable[tuple[Aspect, str]]) -> list[dict[str, str]]:
    return [{"check": check.value, "what": sentence} for check, sentence in entries]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The whole audit."""

    validator: bytes
    windows: tuple[Findings, ...]
    settlements: tuple[Findings, ...]
    has_model: bool
    #: the records that were read, by epoch block and by window
    settlement_records: Mapping[int, SettlementRecord] = field(default_factory=dict)
    window_records: Mapping[int, WindowRecord] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Return whether anything differs from the validator's claims."""
        return any(part.differences for part in (*self.windows, *self.settlements))

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
