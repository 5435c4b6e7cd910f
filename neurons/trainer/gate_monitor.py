"""What a trainer's checkpoints show by their gate, for status, TensorBoard and the tracker.

It follows the manifests that are here: of a long course the newest ones, and the milestone.
"""

from collections.abc import Callable

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.gates.gains import GateLine, Measured, follow_line
from assay.artifacts.status.trainer import GateStatus
from assay.neurons.trainer.status import describe_gate
from assay.protocol.parameters import Gate, GateRule


class GateMonitor:
    """Looks at each newest checkpoint once.

    Args:
        show: takes an axis, a place on it, and figures by name.
    """

    def __init__(
        self, checkpoints: CheckpointFolder, show: Callable[[str, int, dict[str, float]], None]
    ) -> None:
        self._checkpoints = checkpoints
        self._show = show
        self._seen: tuple[bytes, Gate] | None = None
        self._status: GateStatus | None = None
        self._shown: int | None = None  # the newest measured checkpoint whose figures were shown

    def look(self, newest: bytes | None, gate: Gate) -> GateStatus | None:
        """What has been shown up to a checkpoint. None: there is none yet, or no gate.

        Args:
            newest: its digest.

        Raises:
            LearningMonitorError: figures cannot be shown.
        """
        if newest is None or gate.rule is GateRule.NONE:
            return None
        if self._seen != (newest, gate):
            line = follow_line(newest, self._checkpoints, gate)
            self._status = None if line is None else describe_gate(line, gate)
            if line is not None and self._status is not None:
                self._show_new(line, self._status)
            self._seen = newest, gate
        return self._status

    def _show_new(self, line: GateLine, status: GateStatus) -> None:
        """Show what was measured since the last look; at first the newest alone."""
        if not line.measured:
            return
        newest = line.measured[-1].number
        shown = newest - 1 if self._shown is None else self._shown
        for one in line.measured:
            if one.number > shown:
                self._show("checkpoint", one.number, list_gate_figures(one))
        if newest > shown and line.course.counts:
            evidence = {
                "gate/better": status["better"] / status["better_needed"],
                "gate/worse": status["worse"] / status["worse_needed"],
            }
            self._show("checkpoint", newest, evidence)
        self._shown = newest


def list_gate_figures(one: Measured) -> dict[str, float]:
    """A measured checkpoint's figures by name, as TensorBoard and trackers show them. Gains are
    shares of 1."""
    figures = {
        "gate/gain": one.gain.mean / 1_000,
        "gate/gain_low": one.gain.low / 1_000,
        "gate/gain_high": one.gain.high / 1_000,
        "gate/gain_alone": one.own / 1_000,
        "gate/wins": float(one.counts.wins),
        "gate/losses": float(one.counts.losses),
        "gate/attempt": float(one.attempt),
    }
    return figures if one.milestone is None else figures | {"gate/milestone": float(one.milestone)}
