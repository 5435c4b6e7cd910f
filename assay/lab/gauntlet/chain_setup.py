"""The gauntlet's other half: strategies as whole miners on the simulator, beside a whole validator.

One settlement of several windows is played, with all files. Its result is certain, not drawn, and
is given without an error.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from assay.artifacts.database import Database
from assay.lab.gauntlet.attack_setup import LOCATOR, found_network
from assay.lab.gauntlet.measuring import TableRow
from assay.lab.gauntlet.sampling_attacks import Honest
from assay.lab.gauntlet.strategy import Strategy
from assay.lab.gauntlet.table import CALENDAR
from assay.neurons.miner.miner import MinerConfig
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.validator.judged_window import Settlement
from assay.neurons.validator.validator import Validator
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.reason import Reason
from assay.protocol.window import Phase, compute_block
from assay.training import GENESIS
from assay.verification import Seat

MODEL = "shipped, on chain"
#: Groups that a miner submits: the audit looks into two thirds of them.
_GROUPS = 24
#: Windows of the one settlement.
WINDOWS = 4
_STAFF = ("owner", "trainer", "validator")


@dataclass(frozen=True, slots=True)
class StrategyResult:
    """The result of a strategy's settlement."""

    kind: type[Strategy]
    reasons: tuple[Reason, ...]  # of its windows, in order
    settled: int  # score of all its seats
    cost: float  # its spending


class ChainAttackSetup:
    """A chain, a validator, and a miner of each strategy.

    Args:
        folder: for models and files.
        groups: that a miner submits in a window.
    """

    def __init__(
        self,
        folder: Path,
        kinds: Sequence[type[Strategy]],
        windows: int = WINDOWS,
        groups: int = _GROUPS,
    ) -> None:
        self._windows = windows
        timing = replace(DEMO_TIMING, tempo=DEMO_TIMING.window_blocks * (windows + 3))
        hotkeys = {name: sha256(name.encode()).digest() for name in _STAFF}
        miners = {kind: sha256(kind.title.encode()).digest() for kind in kinds}
        seats = hotkeys | {kind.title: hotkey for kind, hotkey in miners.items()}
        self.chain, dependencies, parameters = found_network(
            b"calendar", timing, seats, GENESIS, folder
        )
        config = MinerConfig(groups, groups, windows - 1)
        history = ParameterHistory(parameters)
        self.miners = [
            kind(kind.title, hotkey, history, dependencies, config, lambda line: None)
            for kind, hotkey in miners.items()
        ]
        self.settlements: list[Settlement] = []
        sources = JudgeSources(
            self.chain,
            dependencies.beacons,
            dependencies.checkpoints,
            {LOCATOR: dependencies.store},
        )
        self.validator = Validator(
            hotkeys["validator"],
            history,
            sources,
            Database(),
            lambda context: None,
            lambda judged: None,
            self.settlements.append,
            windows - 1,
        )
        self._parameters = parameters
        #: (window, strategy) → hotkey that it used
        self._names: dict[tuple[int, str], bytes] = {}

    def play(self) -> list[StrategyResult]:
        """Run until the settlement is written."""
        while not self.settlements:
            self.chain.mint()
            head = self.chain.get_head()
            for miner in self.miners:
                while miner.step():
                    pass
                work = miner.work
                if work is not None and work.groups:
                    self._names.setdefault((work.challenge.window, miner.name), miner.hotkey)
                miner.act(head)
            while self.validator.step():
                pass
        return [self._find_outcome(miner) for miner in self.miners]

    def _find_outcome(self, miner: Strategy) -> StrategyResult:
        reasons = []
        seats: set[Seat] = set()
        for window in range(self._windows):
            hotkey = self._names.get((window, miner.name), miner.hotkey)
            judged = self.validator.judged_windows[window]
            verdict = judged.verdicts.get(hotkey)
            reasons.append(Reason.NOT_REGISTERED if verdict is None else verdict.reason)
            at = compute_block(self._parameters.timing, window, Phase.VERDICT_END)
            for key in (hotkey, miner.hotkey):
                member = self.chain.get_members(at).get(key)
                if member is not None:
                    seats.add(Seat(member.uid, member.registered_at))
        scores = self.settlements[0].scores
        settled = sum(scores.get(seat, 0) for seat in seats)
        return StrategyResult(type(miner), tuple(reasons), settled, miner.bill.units)


def run_calendar(
    folder: Path, windows: int, only: str | None, report: Callable[[str], None]
) -> list[TableRow]:
    """Rows of the strategies that act on chain, calendar or served bytes.

    Args:
        only: part of a title, None for all. The honest miner is always included.
    """
    kinds = tuple(
        kind
        for kind in CALENDAR
        if kind is Honest or only is None or only.lower() in kind.title.lower()
    )
    if only is not None and kinds == (Honest,):
        return []
    report(f"on chain: {len(kinds)} miners, {windows} windows")
    outcomes = ChainAttackSetup(folder, kinds, windows).play()
    honest = outcomes[0].settled / outcomes[0].cost
    return [make_row(outcome, honest) for outcome in outcomes]


def make_row(outcome: StrategyResult, honest: float) -> TableRow:
    """One settlement's figures in the form of the other rows."""
    refused = sum(reason is not Reason.ACCEPTED for reason in outcome.reasons)
    relative = outcome.settled / outcome.cost / honest
    return TableRow(
        attack=outcome.kind.title,
        model=MODEL,
        legal=outcome.kind.legal,
        groups=_GROUPS * len(outcome.reasons),
        detected_per_window=refused / len(outcome.reasons),
        income_per_compute=relative,
        pays=not outcome.kind.legal and relative > 1,
        reasons=dict(sorted(Counter(reason.value for reason in outcome.reasons).items())),
    )
