"""The drivers of the demo's neurons: each in its own thread, as if it were a program.

In real time they run in parallel. On a virtual clock they take turns, so that a run can be repeated
to the bit: one neuron at a time runs until it has nothing to do before the next block, or until one
of its extrinsics waits for that block, as on a real chain for some seconds.
"""

import threading
import time
from collections.abc import Callable, Sequence

from assay.neurons.ports import Neuron

#: Seconds between two looks of a neuron at the chain, in real time.
_IDLE_S = 0.05
#: Seconds between two checks whether a neuron waits for a block.
_LOOK_S = 0.02


class FreePlayers:
    """Threads that drive one neuron each, in parallel."""

    def __init__(self, neurons: Sequence[Neuron]) -> None:
        self.failure: Exception | None = None  # the error that broke one of them, which stops all
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(index, neuron), name=neuron.name, daemon=True)
            for index, neuron in enumerate(neurons)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask all to end after their current step."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait at most this long for all to end. Return whether they have."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def play(self) -> None:
        """Let them do what they can at this head. Here they do so by themselves."""

    def _run(self, index: int, neuron: Neuron) -> None:
        """Run a neuron's outermost loop. An error in it stops the demo and is raised there."""
        try:
            while not self._stop.is_set():
                self._play(index, neuron)
        except Exception as error:  # noqa: BLE001 - handed to the main thread
            self.failure = self.failure or error
            self._stop.set()
        finally:
            self._rest(index)

    def _play(self, index: int, neuron: Neuron) -> None:
        """Run some steps."""
        if not neuron.step():
            self._stop.wait(_IDLE_S)

    def _rest(self, index: int) -> None:
        """Handle the end of the thread."""


class TurnPlayers(FreePlayers):
    """Runs the neurons one after the other.

    Args:
        count_waiting: number of extrinsics that wait for the next block.
        update: called while they play.
    """

    def __init__(
        self,
        neurons: Sequence[Neuron],
        count_waiting: Callable[[], int],
        update: Callable[[], None],
    ) -> None:
        super().__init__(neurons)
        self._count_waiting = count_waiting
        self._update = update
        self._change = threading.Condition()
        self._busy: set[int] = set()
        self._is_over: set[int] = set()  # their turn ends with the current step

    def play(self) -> None:
        """Give everybody a turn at this head, in order.

        Neurons whose extrinsic the last block has included first end the step that sent it.
        """
        self._settle()
        for index in range(len(self._threads)):
            with self._change:
                if index in self._busy:
                    continue  # the block has not included it
                self._busy.add(index)
                self._is_over.discard(index)
                self._change.notify_all()
            self._settle()

    def stop(self) -> None:
        super().stop()
        with self._change:
            self._change.notify_all()

    def _settle(self) -> None:
        """Wait until all rest but those whose extrinsic waits for a block."""
        while not self._stop.is_set():
            with self._change:
                if len(self._busy) <= self._count_waiting():
                    self._is_over |= self._busy
                    return
                self._change.wait(_LOOK_S)
            self._update()

    def _play(self, index: int, neuron: Neuron) -> None:
        with self._change:
            self._change.wait_for(lambda: index in self._busy or self._stop.is_set())
        while not self._stop.is_set() and neuron.step() and index not in self._is_over:
            pass
        self._rest(index)

    def _rest(self, index: int) -> None:
        with self._change:
            self._busy.discard(index)
            self._change.notify_all()
