"""A trainer and its monitor as one neuron."""

from assay.neurons.trainer.monitor import LearningMonitor
from assay.neurons.trainer.trainer import Trainer


class TrainerWithMonitor:
    """Trains, and looks at what it made in the time that training leaves."""

    name = "trainer"

    def __init__(self, trainer: Trainer, monitor: LearningMonitor) -> None:
        self._trainer = trainer
        self._monitor = monitor

    @property
    def trouble(self) -> str | None:
        """The trainer's before what the monitor sees."""
        return self._trainer.trouble or self._monitor.alarm

    def step(self) -> bool:
        """See `Trainer.step` and `LearningMonitor.step`."""
        return self._trainer.step() or self._monitor.step()
