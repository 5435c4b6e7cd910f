"""The chain's share of the demo's cost: a development chain through the SDK, compared with
one in memory.

The demo runs with a virtual clock and without evaluations, first on a development chain, then on
the simulator with that chain's hotkeys, rules, block hashes and epochs. So the same tokens are
drawn, judged and learned from. Seconds are processor time of the whole process, including the
chain.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import torch
from figures import Figure, report

from assay.environments import Success
from assay.lab.demo import run as demo_run
from assay.lab.demo.network import DevnetNetwork, Network
from assay.lab.demo.run import Demo, DemoRun, found_devnet
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.protocol import Beacon, Block
from assay.protocol.beacon import compute_round_time_ms
from assay.protocol.parameters import DEMO_TIMING
from assay.settings.sections import DemoSettings

WINDOWS = 6
RUNS = 3


class RepeatedChain(SimulatedChain):
    """The simulator, with another chain's blocks and epochs."""

    def __init__(self, blocks: Sequence[Block], epochs: set[int], hotkeys: Sequence[bytes]) -> None:
        first = blocks[0]
        super().__init__(b"", 1, first.timestamp_ms, DEMO_TIMING.slot_ms, 1, hotkeys)
        self.genesis_hash = first.hash
        self._known, self._epochs = blocks, epochs
        self.blocks = [first]

    def mint(self) -> Block:
        super().mint()
        self.blocks[-1] = self._known[len(self.blocks) - 1]
        return self.blocks[-1]

    def is_epoch(self, number: int) -> bool:
        return number in self._epochs


class TimedBeacons:
    """Beacons of an ended network, each available again at its time."""

    def __init__(self, beacons: LocalBeacon, get_now_ms: Callable[[], int]) -> None:
        self._beacons = beacons
        self._get_now_ms = get_now_ms

    def get(self, number: int) -> Beacon | None:
        due = compute_round_time_ms(self._beacons.chain, number)
        return self._beacons.get(number) if due <= self._get_now_ms() else None


class RepeatedNetwork:
    """A network in memory that repeats all events of another network."""

    def __init__(self, played: DevnetNetwork, last_block: int) -> None:
        chain, self.parameters, self.hotkeys = played.chain, played.parameters, played.hotkeys
        self.first_window = played.first_window
        blocks = [chain.get_block(number) for number in range(last_block + 1)]
        # epochs ahead, too: a window's settlement is looked up before it comes
        end = last_block + 4 * DEMO_TIMING.tempo
        epochs = {number for number in range(1, end) if chain.is_epoch(number)}
        self.chain = RepeatedChain(blocks, epochs, tuple(self.hotkeys.values()))
        self.beacons = TimedBeacons(played.beacons, self.get_now_ms)
        for _ in range(self.first_window * DEMO_TIMING.window_blocks - 1):
            self.make_block()

    def get_now_ms(self) -> int:
        return self.chain.get_block(self.chain.get_head()).timestamp_ms

    def start(self) -> None:
        """Do nothing: its clock is virtual."""

    def make_block(self) -> None:
        self.chain.mint()

    def count_waiting(self) -> int:
        return 0

    def require_running(self) -> None:
        """Do nothing: it cannot stop."""

    def stop_retrying(self) -> None:
        """Do nothing: it always answers."""

    def close(self) -> None:
        """Do nothing: it holds no resources."""


@dataclass
class Played:
    """One demo, from its first window to its last.

    Attributes:
        founded_s, mined_s: processor time before the first window, and of all windows.
        outcome: all verdicts and payments.
        again: the same network in memory.
    """

    founded_s: float
    mined_s: float
    outcome: Any
    again: RepeatedNetwork | None


def play(found: Callable[..., Network]) -> Played:
    """Play a demo on the network that `found` makes."""
    marks: dict[str, float] = {}

    def update(run: DemoRun) -> None:
        marks.setdefault(run.stage, process_time())

    with tempfile.TemporaryDirectory() as name:
        settings = DemoSettings(out=Path(name), fast=True, windows=WINDOWS)
        started = process_time()
        with closing(Demo(settings, update, found=found)) as demo:
            founded_s = process_time() - started
            demo.play()
            network = demo._network
            outcome = (
                [
                    [(hotkey, verdict.reason) for hotkey, verdict in judged.verdicts.items()]
                    for judged in demo.run.validator.judged_windows.values()
                ],
                [(s.windows, s.weights) for s in demo.run.validator.settlements],
            )
            again = None
            if isinstance(network, DevnetNetwork):
                again = RepeatedNetwork(network, network.chain.get_head())
    mined_s = marks["evaluating the last checkpoint"] - marks["mining"]
    return Played(founded_s, mined_s, outcome, again)


def main() -> None:
    torch.set_num_threads(1)
    demo_run.evaluate = lambda *_: Success(0, 1)  # type: ignore[assignment] # the same in both
    on_chain, in_memory = [], []
    for _ in range(RUNS):
        on_chain.append(play(found_devnet))
        in_memory.append(play(lambda *_: on_chain[-1].again))
        assert on_chain[-1].outcome == in_memory[-1].outcome
    least = min(played.mined_s for played in on_chain) / WINDOWS
    alone = min(played.mined_s for played in in_memory) / WINDOWS
    figures = [
        Figure("a window, CPU time", least, "s", "in memory", alone, ratio_bound=1.10),
        Figure(
            "founding the network, CPU time",
            min(played.founded_s for played in on_chain),
            "s",
            "in memory",
            min(played.founded_s for played in in_memory),
        ),
    ]
    report(f"Demo: {WINDOWS} windows of five miners, validator and trainer", figures, 1)


if __name__ == "__main__":
    main()
