"""A validator's results: windows as far as they are judged, and settlements."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from assay.artifacts.submissions.appeals import AppealBudget
from assay.neurons.session.window_reader import Challenge
from assay.protocol import Context, Reason
from assay.verification import Seat, Verdict


@dataclass(slots=True)
class FailedFile:
    """A file that could not be judged so far.

    Attributes:
        places: kinds of children, and devices, at which judging it failed; none: elsewhere.
        tries: so far.
        due: block from which it is judged again.
        is_blamed: whether another file was judged since it first failed, and these answered.
    """

    places: frozenset[str]
    tries: int
    due: int
    is_blamed: bool = False

    def is_answered(self, served: frozenset[str]) -> bool:
        """Return whether a file that these have served shows that the judge works."""
        return bool(served) and self.places <= served


#: Blocks between two tries of a file that could not be judged, at most.
_PAUSE_MAX = 8
#: Files of a window that are judged once more to see whether the judge works.
_PROOFS_MAX = 4


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
    provisional: dict[bytes, Verdict] = field(default_factory=dict)
    #: files that could not be judged so far
    failed: dict[bytes, FailedFile] = field(default_factory=dict)
    #: what answered in judging the others; not known of those judged before a restart
    served: dict[bytes, frozenset[str]] = field(default_factory=dict)
    proofs: set[bytes] = field(default_factory=set)  # files that were judged once more
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
        if verdict.provisional:
            self.provisional[hotkey] = verdict
            self.withheld.pop(hotkey, None)  # an earlier verdict
            del self.asked_at[hotkey]  # its samples have not been asked for
        elif verdict.is_withheld:
            self.withheld[hotkey] = verdict
        else:
            self.verdicts[hotkey] = verdict

    def fail(self, hotkey: bytes, places: Set[str], head: int) -> None:
        """Note that a file could not be judged at a block."""
        known = self.failed.get(hotkey) or FailedFile(frozenset(), 0, head)
        pause = min(1 << known.tries, _PAUSE_MAX)
        is_blamed = known.is_blamed and known.places >= places
        both = known.places | places
        self.failed[hotkey] = FailedFile(both, known.tries + 1, head + pause, is_blamed)

    def note_served(self, hotkey: bytes, served: Set[str]) -> None:
        """Note that a file was judged, and what answered. Files that failed there before, and fail
        still, are to blame for it themselves."""
        if served:
            self.served[hotkey] = self.served.get(hotkey, frozenset()) | served
        self.failed.pop(hotkey, None)
        for other in self.failed.values():
            other.is_blamed |= other.is_answered(frozenset(served))

    def is_due(self, hotkey: bytes, head: int) -> bool:
        """Return whether a file may be judged at a block, if it has failed before."""
        failed = self.failed.get(hotkey)
        return failed is None or failed.due <= head

    def choose_proof(self) -> bytes | None:
        """A file to judge once more, since another one failed and none was judged after it; None:
        that is not needed, or there is no such file."""
        doubtful = [failed for failed in self.failed.values() if not failed.is_blamed]
        if not doubtful or len(self.proofs) >= _PROOFS_MAX:
            return None
        judged = {h for h, v in {**self.provisional, **self.verdicts}.items() if v.accepted}
        for hotkey in sorted(judged - self.proofs):
            served = self.served.get(hotkey)
            if served is None or any(failed.is_answered(served) for failed in doubtful):
                return hotkey
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
    #: seat → score; weights: uid → u16; both empty where no window counts
    scores: Mapping[Seat, int]
    weights: Mapping[int, int]
    #: seat → the hotkey that holds it at the epoch block
    holders: Mapping[Seat, bytes] = field(default_factory=dict)
