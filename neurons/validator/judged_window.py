"""What a validator has come to: windows as far as they are judged, and settlements."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.neurons.session.window_reader import Challenge
from assay.protocol import Context, Reason
from assay.verification import Seat, Verdict


@dataclass(slots=True)
class JudgedWindow:
    """One window as far as it has been judged. Final once `closed`."""

    challenge: Challenge
    context: Context | None = None
    verdicts: dict[bytes, Verdict] = field(default_factory=dict)
    seconds: dict[bytes, float] = field(default_factory=dict)
    asked_at: dict[bytes, int] = field(default_factory=dict)
    #: what was asked for in time and not shown so far, or shown other than committed
    withheld: dict[bytes, Verdict] = field(default_factory=dict)
    #: in which nothing is wrong so far; what is sampled of these has not been looked at
    provisional: dict[bytes, Verdict] = field(default_factory=dict)
    closed: bool = False
    #: why the window counts for nobody, whoever judges it: its checkpoint is unusable
    void: str | None = None
    missing: str | None = None  # what this validator lacked when it last tried

    def add(self, verdict: Verdict, asked_at: int, seconds: float) -> None:
        """One submission asked for at a block and judged; what the root on chain binds was not
        shown, it may be asked for again: another validator may have been shown it."""
        hotkey = verdict.hotkey
        self.asked_at[hotkey], self.seconds[hotkey] = asked_at, seconds
        if verdict.provisional:
            self.provisional[hotkey] = verdict
            self.withheld.pop(hotkey, None)  # which was before
            del self.asked_at[hotkey]  # what is sampled has not been asked for
        elif verdict.is_withheld:
            self.withheld[hotkey] = verdict
        else:
            self.verdicts[hotkey] = verdict

    def close_fetching(self) -> None:
        """MIRROR_END has passed: what was asked for in vain is withheld for good, and what was
        never asked for has no verdict. Fetching it now could differ from what others saw."""
        self.verdicts |= {h: v for h, v in self.withheld.items() if h not in self.verdicts}

    def explain_abstention(self) -> str | None:
        """What this validator lacked for a window whose verdicts are final; None where it lacked
        nothing, or where the window is void whoever looks."""
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
            "time: this program was stopped meanwhile, or is too slow: give it a faster machine, "
            "or more threads"
        )

    @property
    def complete(self) -> bool:
        """Whether every member has a verdict."""
        return self.context is not None and self.verdicts.keys() >= self.context.members.keys()

    @property
    def counts(self) -> bool:
        """Whether a settlement may use it.

        What breaks our judge for some files while it works for another's costs those files their
        window and nothing else: else two hotkeys with one broken file would void it for all. Where
        it works for nobody, the fault is ours, and we abstain for all alike (section 8).
        """
        broken = any(verdict.reason is Reason.INTERNAL for verdict in self.verdicts.values())
        works = any(verdict.accepted for verdict in self.verdicts.values())
        return self.void is None and self.complete and (works or not broken)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an epoch's windows came to."""

    epoch: int
    windows: tuple[int, ...]
    #: windows that are void or that this validator could not judge in full; they count for nobody
    abstained: tuple[int, ...]
    #: seat → score; weights: uid → u16; both empty where no window counts
    scores: Mapping[Seat, int]
    weights: Mapping[int, int]
    #: seat → the hotkey that holds it at the epoch block
    holders: Mapping[Seat, bytes] = field(default_factory=dict)
