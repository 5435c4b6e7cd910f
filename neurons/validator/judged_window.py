"""A validator's results: windows as far as they are judged, and settlements."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from assay.artifacts.submissions.appeals import AppealBudget
from assay.protocol.context import Context
from assay.protocol.reason import Reason
from assay.sandbox.usage import Probe, Usage
from assay.session.window_reader import Challenge
from assay.verification import Accepted, CheckedSubmission, Seat, Verdict

#: The judge itself, beside the kinds of children and the devices that it uses.
JUDGE = "judge"
#: Blocks between two tries of a file that could not be judged, at most.
_PAUSE_MAX = 8


@dataclass(slots=True)
class FailedFile:
    """A file that could not be judged so far.

    Attributes:
        since: where judging it failed → when it first did, on the monotonic clock.
        probes: where it failed → what asks there something small.
        answered: where somebody else was answered since.
        tries: so far.
        due: block from which it is judged again.
        proved_at: block at which the judge was last tried for it.
    """

    since: dict[str, float] = field(default_factory=dict)
    probes: dict[str, Probe] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    tries: int = 0
    due: int = 0
    proved_at: int = -1

    @property
    def is_blamed(self) -> bool:
        """Return whether all that failed at it works for others."""
        return self.since.keys() <= self.answered

    def note(self, served: Set[str], began: float) -> None:
        """Note what has answered somebody else, in work that began at a time."""
        self.answered |= {
            place for place, failed in self.since.items() if place in served and began > failed
        }


@dataclass(slots=True)
class JudgedWindow:
    """One window as far as it has been judged. Final once `closed`."""

    challenge: Challenge
    context: Context | None = None
    verdicts: dict[bytes, Verdict] = field(default_factory=dict)
    seconds: dict[bytes, float] = field(default_factory=dict)
    asked_at: dict[bytes, int] = field(default_factory=dict)
    #: files that were asked for in time and not shown so far, or shown other than committed
    withheld: dict[bytes, Verdict] = field(default_factory=dict)
    #: files without a fault so far, whose samples have not been checked
    provisional: dict[bytes, Accepted] = field(default_factory=dict)
    #: files that could not be judged so far
    failed: dict[bytes, FailedFile] = field(default_factory=dict)
    #: what answered in judging → a file that was accepted, as it was read; lost by a restart
    kept: dict[str, CheckedSubmission] = field(default_factory=dict)
    appeals: AppealBudget = field(default_factory=AppealBudget)
    closed: bool = False
    #: why the window counts for nobody, whichever validator judges it: its checkpoint is unusable
    void: str | None = None
    missing: str | None = None  # what this validator lacked at its last attempt

    def add(self, verdict: Verdict, asked_at: int, seconds: float) -> None:
        """Add a judged submission that was asked for at a block. If the committed bytes were not
        shown, it may be asked for again: another validator may have been shown them."""
        hotkey = verdict.hotkey
        self.asked_at[hotkey], self.seconds[hotkey] = asked_at, seconds
        if isinstance(verdict, Accepted) and verdict.provisional:
            self.provisional[hotkey] = verdict
            self.withheld.pop(hotkey, None)  # an earlier verdict
            del self.asked_at[hotkey]  # its samples have not been asked for
        elif verdict.is_withheld:
            self.withheld[hotkey] = verdict
        else:
            self.verdicts[hotkey] = verdict

    def fail(self, hotkey: bytes, usage: Usage, head: int) -> None:
        """Note that a file could not be judged at a block."""
        failed = self.failed.setdefault(hotkey, FailedFile())
        for place in (JUDGE, *usage.failed):
            failed.since.setdefault(place, usage.ended)
        failed.probes |= {place: ask for place, ask in usage.failed.items() if ask is not None}
        failed.due = head + min(1 << failed.tries, _PAUSE_MAX)
        failed.tries += 1

    def succeed(
        self, hotkey: bytes, usage: Usage, submission: CheckedSubmission | None = None
    ) -> None:
        """Note that a file was judged, and what answered.

        Args:
            submission: of a file that was accepted.
        """
        self.failed.pop(hotkey, None)
        if usage.served:  # else no model and no child was needed
            served = {*usage.served, JUDGE}
            self.note_answered(served, usage.began)
            if submission is not None:
                self.kept |= dict.fromkeys(served, submission)

    def note_answered(self, served: Set[str], began: float) -> None:
        """Note what has answered, in work that began at a time. Files that fail where others are
        answered since are to blame for it themselves."""
        for failed in self.failed.values():
            failed.note(served, began)

    def is_due(self, hotkey: bytes, head: int) -> bool:
        """Return whether a file may be judged at a block, if it has failed before."""
        failed = self.failed.get(hotkey)
        return failed is None or failed.due <= head

    def find_doubt(self, head: int) -> tuple[bytes, str] | None:
        """A file that failed, and where nobody was answered since, though that can be tried: by a
        file that was accepted, or by a probe. None: there is none, or it was tried at this
        block."""
        for hotkey, failed in sorted(self.failed.items()):
            known = self.kept.keys() | failed.probes.keys()
            doubtful = sorted((failed.since.keys() - failed.answered) & known)
            if doubtful and failed.proved_at < head:
                return hotkey, doubtful[0]
        return None

    def close_fetching(self) -> None:
        """Close fetching at MIRROR_END: a file that was asked for in vain is withheld for good, one
        never asked for has no verdict. A later fetch could differ from what others saw."""
        self.verdicts |= {h: v for h, v in self.withheld.items() if h not in self.verdicts}

    @property
    def works(self) -> bool:
        """Return whether our judge has accepted a file."""
        return any(verdict.accepted for verdict in self.verdicts.values())

    def explain_abstention(self) -> str | None:
        """The inputs that this validator lacked for a window whose verdicts are final; None where
        it lacked nothing, or where the window is void for everybody."""
        if self.void is not None or self.complete:
            return None
        if self.missing is not None:
            return self.missing
        if self.context is None:
            return "its audit beacon did not come in time"
        if self.context.sample is None:
            return "the beacon of its samples did not come in time"
        members = self.context.members.keys()
        return (
            f"{len(members - self.verdicts.keys())} of {len(members)} hotkeys were not judged in "
            "time: this program was not running all the time, or is too slow (it needs a faster "
            "machine, or more threads)"
        )

    @property
    def complete(self) -> bool:
        """Return whether every member has a verdict."""
        return self.context is not None and self.verdicts.keys() >= self.context.members.keys()

    @property
    def counts(self) -> bool:
        """Return whether a settlement may use it.

        If our judge fails on some files and works on another's, those files lose their window and
        nothing else. Otherwise two hotkeys with one broken file each would void the window for all.
        If it works on no file, the fault is ours, and we abstain for all alike (section 8).
        """
        broken = any(verdict.reason is Reason.INTERNAL for verdict in self.verdicts.values())
        return self.void is None and self.complete and (self.works or not broken)


@dataclass(frozen=True, slots=True)
class Settlement:
    """The results of an epoch's windows."""

    epoch: int
    windows: tuple[int, ...]
    #: windows that are void or that this validator could not judge in full; they do not count
    abstained: tuple[int, ...]
    #: seat → score; empty where no window counts
    scores: Mapping[Seat, int]
    #: uid → u16; empty where no window counts, or nobody earned: the chain keeps those that it has
    weights: Mapping[int, int]
    #: seat → the hotkey that holds it at the epoch block
    holders: Mapping[Seat, bytes] = field(default_factory=dict)
    #: settlements in a row, up to this one, in which nobody earned
    idle: int = 0
