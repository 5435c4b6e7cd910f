"""Parameters that change on a living network, and the windows for which each of them holds.

An amendment is a set of parameters that names its predecessor and the first window for which it
holds. The owner's slot names the amendment. The slot's content at the decision block is final:
later changes have no effect. Before that block the owner may take an amendment back. Specification,
section 0.1.
"""

from collections.abc import Sequence
from dataclasses import replace

from assay.protocol.errors import OperatorError
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Parameters
from assay.protocol.window import compute_settled_windows, compute_window

#: Most amendments of one network.
AMENDMENTS_MAX = 1_024


class UnknownParametersError(OperatorError):
    """The parameters of a window are decided, but this program cannot read them."""


def compute_decision_block(predecessor: Parameters, window: int) -> int:
    """The block whose state decides whether parameters that start with `window` follow others."""
    timing = predecessor.timing
    return max(0, (window - timing.notice_windows) * timing.window_blocks)


def compute_first_window(predecessor: Parameters, head: int) -> int:
    """The first window for which the owner can still amend parameters, where `head` is the newest
    block: its decision block has not been reached."""
    timing = predecessor.timing
    start = predecessor.start.window
    return max(compute_window(timing, head) + 1, start) + timing.notice_windows


def needs_calibration(old: Parameters, new: Parameters) -> bool:
    """Return whether a checkpoint that serves the old parameters needs a new calibration for the
    new ones, because its rates are measured for the levels, the temperature and the problems."""

    def get_bounds(parameters: Parameters) -> tuple[object, ...]:
        work = parameters.work
        calibrated = parameters.tests, parameters.environment, work.temperature, work.max_tokens
        # by which a checkpoint's levels follow, and by which it is measured
        return *calibrated, parameters.steering, parameters.gate

    return get_bounds(old) != get_bounds(new)


def find_amendment_fault(old: Parameters, new: Parameters) -> str | None:
    """The reason why parameters cannot follow others, or None. Each set by itself is valid."""
    before, after, start = old.timing, new.timing, new.start
    length = before.window_blocks
    same = replace(new.identity, burn_share=old.identity.burn_share)
    # a seat's ledger enters windows in order, and a settlement covers those that end in its time
    ordered = (
        before.mirror_end <= length + after.audit_offset
        and before.verdict_end < length + after.verdict_end
    )
    is_same_start = (start.checkpoint, start.number) == (old.start.checkpoint, old.start.number)
    others = (ZERO_DIGEST, old.start.checkpoint, new.identity.genesis_checkpoint)
    is_new = start.checkpoint not in others and start.number > old.start.number
    calibrated = needs_calibration(old, new)
    return next(
        (
            fault
            for fault, holds in (
                ("they name another predecessor", start.predecessor == old.digest),
                ("their identity is another network's", same == old.identity),
                ("their beacon is another one", new.beacon == old.beacon),
                ("their window_blocks differ", after.window_blocks == length),
                (
                    "they start before their predecessor could be known",
                    start.window >= old.start.window + before.notice_windows,
                ),
                ("windows would be judged out of order", ordered),
                ("they name no checkpoint calibrated for them", is_new or not calibrated),
                ("they replace a checkpoint that serves them", is_same_start or calibrated),
                ("they start within a round", _ends_round(old, start.window)),
            )
            if not holds
        ),
        None,
    )


def _ends_round(old: Parameters, window: int) -> bool:
    return old.rounds is None or window % old.rounds.windows == 0


class ParameterHistory:
    """The parameters of one network, by window.

    The history grows: a program that follows the chain adds amendments, and its users ask again for
    each window.

    Attributes:
        end: the first window whose parameters are decided but cannot be read here, or None.
        problem: the reason why they cannot be read.
    """

    def __init__(self, first: Parameters) -> None:
        self._known: tuple[Parameters, ...] = (first,)
        self.end: int | None = None
        self.problem: str | None = None

    @property
    def first(self) -> Parameters:
        """The network's first parameters. Their digest is the network's name."""
        return self._known[0]

    @property
    def latest(self) -> Parameters:
        """The newest decided parameters, whether they hold yet or not."""
        return self._known[-1]

    @property
    def all(self) -> tuple[Parameters, ...]:
        """All known parameters, in order."""
        return self._known

    def get(self, window: int) -> Parameters:
        """The parameters that hold for a window. Raises an UnknownParametersError if not known."""
        if self.end is not None and window >= self.end:
            raise UnknownParametersError(self.problem or "")
        return next(p for p in reversed(self._known) if p.start.window <= window)

    def get_at(self, block: int) -> Parameters:
        """The parameters that hold for a block's window, or the latest known ones before it:
        windows are equally long under all of them."""
        window = compute_window(self.first.timing, block)
        return self.get(window if self.end is None else min(window, self.end - 1))

    def add(self, parameters: Parameters) -> None:
        """Add an amendment. Raises a ValueError if it cannot follow the latest parameters."""
        fault = find_amendment_fault(self.latest, parameters)
        if fault is not None:
            raise ValueError(fault)
        self._known += (parameters,)
        self.end = self.problem = None

    def stop_at(self, window: int, problem: str) -> None:
        """Note that the parameters that hold from a window on cannot be read here."""
        self.end, self.problem = window, problem

    def compute_settled(self, previous_epoch: int, epoch: int) -> range:
        """The windows whose VERDICT_END lies in (previous_epoch, epoch]: they are settled together.
        Windows whose parameters cannot be read are left out."""
        return range(self._count_ended(previous_epoch), self._count_ended(epoch))

    def _count_ended(self, block: int) -> int:
        """The number of windows whose verdicts are final at a block."""
        end = self.end
        for parameters in reversed(self._known):
            ended = compute_settled_windows(parameters.timing, block, block).stop
            ended = ended if end is None else min(ended, end)
            if ended > parameters.start.window:
                return ended
            end = parameters.start.window
        return 0


def make_history(path: Sequence[Parameters]) -> ParameterHistory:
    """The history of parameters that follow each other, the network's first ones first. Raises a
    ValueError: some cannot follow those before them."""
    history = ParameterHistory(path[0])
    for parameters in path[1:]:
        history.add(parameters)
    return history
