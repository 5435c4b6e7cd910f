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
from assay.lab.gauntlet.chain_attacks import RestsOnItsPay
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
#: Windows and groups of a miner that rests on its pay, and for how many settlements it may.
_RESTING_WINDOWS, _RESTING_GROUPS, _RESTING_ALLOWED = 7, 6, 1
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
        tempo: blocks between two settlements; None: one settlement covers all windows.
        idle_settlements: of the parameters; None: the demo's.
    """

    def __init__(
        self,
        folder: Path,
        kinds: Sequence[type[Strategy]],
        windows: int = WINDOWS,
        groups: int = _GROUPS,
        tempo: int | None = None,
        idle_settlements: int | None = None,
    ) -> None:
        self._windows = windows
        one = DEMO_TIMING.window_blocks * (windows + 3)
        timing = replace(DEMO_TIMING, tempo=one if tempo is None else tempo)
        hotkeys = {name: sha256(name.encode()).digest() for name in _STAFF}
        miners = {kind: sha256(kind.title.encode()).digest() for kind in kinds}
        seats = hotkeys | {kind.title: hotkey for kind, hotkey in miners.items()}
        self.chain, dependencies, parameters = found_network(
            b"calendar", timing, seats, GENESIS, folder
        )
        if idle_settlements is not None:
            work = replace(parameters.work, idle_settlements=idle_settlements)
            parameters = replace(parameters, work=work)
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
            self._play_block()
        return [self._find_outcome(miner) for miner in self.miners]

    def play_epochs(self) -> tuple[dict[type[Strategy], float], int]:
        """Run until all windows are settled and paid. Return the share of all weights that the
        chain shows for each miner, summed over epochs, and the epochs that pay by weights."""
        pay, paid = dict.fromkeys((type(miner) for miner in self.miners), 0.0), 0
        end = compute_block(self._parameters.timing, self._windows - 1, Phase.VERDICT_END)
        while self.chain.get_head() < end + 2 * self._parameters.timing.tempo:
            self._play_block()
            head = self.chain.get_head()
            weights = self.chain.get_weights(head).get(self.validator.hotkey, {})
            if not self.chain.is_epoch(head) or not weights:
                continue
            paid += 1
            for miner in self.miners:
                member = self.chain.get_members(head)[miner.hotkey]
                pay[type(miner)] += weights.get(member.uid, 0) / sum(weights.values())
        return pay, paid

    def _play_block(self) -> None:
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

    def list_reasons(self, miner: Strategy) -> tuple[Reason, ...]:
        """The verdicts on a miner that keeps its hotkey, by window."""
        judged = self.validator.judged_windows
        return tuple(judged[w].verdicts[miner.hotkey].reason for w in range(self._windows))

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


def run_resting(folder: Path, only: str | None, report: Callable[[str], None]) -> list[TableRow]:
    """Rows of the miner that lives on the weights of its last pay, beside honest work and alone."""
    if only is not None and only.lower() not in RestsOnItsPay.title.lower():
        return []
    report("on chain: a miner that was paid and rests, beside an honest one and alone")
    return [
        play_resting(folder / "beside", (Honest, RestsOnItsPay), "beside honest work"),
        play_resting(folder / "alone", (RestsOnItsPay,), "alone"),
    ]


def play_resting(folder: Path, kinds: Sequence[type[Strategy]], beside: str) -> TableRow:
    """The row of `RestsOnItsPay` among miners of these kinds. Its income is compared with its share
    of all pay had it worked on, and not by compute: its machine rests."""
    setup = ChainAttackSetup(
        folder, kinds, _RESTING_WINDOWS, _RESTING_GROUPS, DEMO_TIMING.tempo, _RESTING_ALLOWED
    )
    pay, paid = setup.play_epochs()
    reasons = setup.list_reasons(setup.miners[-1])
    relative = pay[RestsOnItsPay] * len(kinds) / paid
    return TableRow(
        attack=f"{RestsOnItsPay.title}, {beside}",
        model=MODEL,
        legal=False,
        groups=_RESTING_GROUPS * _RESTING_WINDOWS,
        detected_per_window=sum(r is not Reason.ACCEPTED for r in reasons) / len(reasons),
        income_per_compute=relative,
        pays=relative > 1,
        reasons=dict(sorted(Counter(reason.value for reason in reasons).items())),
    )


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
