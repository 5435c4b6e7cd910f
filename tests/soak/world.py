"""A subnet on a virtual clock, played for any number of windows.

Two miners, a validator and a trainer meet faults (`weather`), are killed and start again. A second
validator sees the same subnet undisturbed and is never stopped. The disturbed programs must get the
same results, unless a fault lasted long enough to cost a window by the protocol. The chain is the
simulator; protocol, model, judge, miners' files, BLS beacons, databases, folders and the programs'
composition are the real ones.
"""

import json
import logging
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.database import VALIDATOR_FILE, Database
from assay.artifacts.discovery import publish_parameters
from assay.lab.simulator import SimulatedChain, SimulatedRules
from assay.network.beacon import LocalBeacon
from assay.network.beacon.relay_race import RelayTimeouts
from assay.network.chain.values import STATE_BLOCKS
from assay.network.store.folder import open_folder
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.neurons.validator.validator import Validator
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment, parse_commitment
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.reason import Reason
from assay.protocol.window import Phase, compute_block
from assay.subnet.presets import NETUID, make_demo_parameters
from tests.small_genesis import make_small_genesis
from tests.soak.programs import Program, StuckError, take_over
from tests.soak.weather import Weather

GENESIS_MS = 1_700_000_000_000
MINERS = {"alice": 2, "bob": 3}
NAMES = ("owner", "trainer", "validator", "witness", *MINERS)
#: Windows at either end without faults, so that everybody is there and everything is settled.
_CALM = 2


class World:
    """The subnet, and the findings so far.

    Args:
        windows: number of windows to play.
        calm: without any fault.
        patch: sets an attribute for as long as the soak lasts.

    Attributes:
        relay: URL from which programs get beacons; None: without HTTP.
        clock_offset_ms: lead of the programs' clock over the chain's.
        before_block: called with the number of each block before there is one.
        around_turn: entered for each program's turn; the undisturbed validator has none.
    """

    def __init__(
        self,
        folder: Path,
        windows: int,
        seed: int,
        patch: Callable[[Any, str, Any], None],
        *,
        calm: bool = False,
    ) -> None:
        torch.set_num_threads(1)
        self.folder = folder
        self.hotkeys = {name: sha256(name.encode()).digest() for name in NAMES}
        self.chain = SimulatedChain(
            b"soak %d" % seed,
            NETUID,
            GENESIS_MS,
            DEMO_TIMING.slot_ms,
            DEMO_TIMING.tempo,
            tuple(self.hotkeys.values()),
            kept=STATE_BLOCKS,
        )
        self.chain.rules = SimulatedRules(permits=True)
        self.beacons = LocalBeacon(b"soak %d" % seed, GENESIS_MS, 1_000, self.get_now_ms)
        self.stores: dict[str, Any] = {
            self.get_locator(name): open_folder(folder / "stores" / name) for name in NAMES
        }
        take_over(self.get_now_ms, patch)
        self._found()
        spans = [
            range(
                compute_block(DEMO_TIMING, w, Phase.CHALLENGE),
                compute_block(DEMO_TIMING, w + 1, Phase.CHALLENGE),
            )
            for w in range(_CALM, windows - 2 * _CALM)
        ]
        self.programs = [
            Program(
                role,
                name,
                folder / name,
                self,
                Weather(f"{seed} {name}", [] if calm else spans, self.chain.get_head),
                MINERS.get(name, 0),
            )
            for name, role in (
                *((name, "miner") for name in MINERS),
                ("validator", "validator"),
                ("trainer", "trainer"),
            )
        ]
        self.windows = windows
        self.relay: str | None = None
        self.patience = RelayTimeouts()
        self.clock_offset_ms = 0
        self.before_block: Callable[[int], None] = lambda block: None
        self.around_turn: Callable[[Program], AbstractContextManager[None]] = lambda program: (
            nullcontext()
        )
        self.log = _Log()
        self.check = _Check(self)
        self._witness = self._make_witness()

    def get_locator(self, name: str) -> str:
        """The locator of a program's store on chain."""
        return f"soak:{name}"

    def get_now_ms(self) -> int:
        """The chain's time."""
        return self.chain.get_block(self.chain.get_head()).timestamp_ms

    def _found(self) -> None:
        digest = make_small_genesis(self.folder / "genesis", max_tokens=16)
        owner = self.stores[self.get_locator("owner")]
        publish_checkpoint(owner, self.folder / "genesis", digest)
        parameters = make_demo_parameters(
            self.chain.genesis_hash, self.beacons.chain, 0, self.hotkeys["trainer"], digest
        )
        small = {"group_size": 2, "audited_rollouts": 2, "valued_groups": 1, "sampled_rollouts": 1}
        self.parameters = replace(parameters, work=replace(parameters.work, **small))
        publish_parameters(owner, self.parameters)
        locator = self.get_locator("owner")
        said = Commitment(Tag.PARAMETERS, 0, 0, self.parameters.digest, locator)
        self.chain.set_commitment(self.hotkeys["owner"], encode_commitment(said))
        for name in ("validator", "witness"):
            self.chain.fund(self.hotkeys[name], 10**12)
            self.chain.add_stake(self.hotkeys[name], 10**12)

    def _make_witness(self) -> Validator:
        self._database = Database(self.folder / "witness" / VALIDATOR_FILE)
        # where the trainer makes them: all that it publishes is there before it says so
        models = CheckpointFolder(self.folder / "trainer" / "models")
        return Validator(
            self.hotkeys["witness"],
            ParameterHistory(self.parameters),
            JudgeSources(self.chain, self.beacons, models, self.stores),
            self._database,
            lambda _: None,
            self.check.add_window,
            self.check.add_settlement,
            start=1,
        )

    def play(self, after: Callable[[int], None]) -> None:
        """All windows, until the last one is settled.

        Args:
            after: called with each window's number when its last block is over.
        """
        logger = logging.getLogger("assay")
        logger.addHandler(self.log)
        propagates, logger.propagate = logger.propagate, False
        try:
            last = (self.windows + 1) * DEMO_TIMING.window_blocks
            for block in range(self.chain.get_head() + 1, last):
                self.before_block(block)
                self.chain.mint()
                for program in self.programs:
                    with self.around_turn(program):
                        program.turn()
                    if program.failure is not None:
                        raise StuckError(f"{program.name} has ended") from program.failure
                while self._witness.step():
                    pass
                window, offset = divmod(block + 1, DEMO_TIMING.window_blocks)
                if offset == 0:
                    self.check.look_at_commitments(window - 2)
                    self.check.compare()
                    after(window - 1)
        finally:
            logger.removeHandler(self.log)
            logger.propagate = propagates

    def close(self) -> None:
        """Ends all programs."""
        for program in self.programs:
            program.stop()
        self._database.close()


class _Log(logging.Handler):
    """A count of the programs' messages, and the last ones."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.counts: Counter[str] = Counter()
        self.last: deque[str] = deque(maxlen=200)
        self.defects: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.counts[record.levelname] += 1
        self.last.append(text)
        if record.levelno >= logging.ERROR:
            self.defects.append(text)


@dataclass
class _Check:
    """The comparison of the undisturbed validator's results with the others'.

    Attributes:
        findings: results that neither equal the undisturbed ones nor follow from the protocol.
        excused: windows, or a miner's windows, that a long fault has cost, by kind.
    """

    world: World
    settlements: dict[int, Settlement] = field(default_factory=dict)
    audits: dict[int, JudgedWindow] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    excused: Counter[str] = field(default_factory=Counter)
    equal: int = 0
    compared: int = 0

    def add_window(self, audit: JudgedWindow) -> None:
        self.audits[audit.challenge.window] = audit

    def add_settlement(self, settlement: Settlement) -> None:
        self.settlements[settlement.epoch] = settlement

    def look_at_commitments(self, window: int) -> None:
        """Every miner's commitment was in time, with all its groups."""
        world = self.world
        if window < 0:
            return
        block = compute_block(DEMO_TIMING, window, Phase.COMMIT)
        slots = world.chain.get_commitments(block)
        for program in world.programs:
            if program.role != "miner":
                continue
            said = parse_commitment(slots.get(world.hotkeys[program.name], b""))
            whole = said is not None and said.number == window
            if whole and said is not None and said.groups == MINERS[program.name]:
                self.equal += 1
            elif program.weather.spoils(range(block - DEMO_TIMING.commit_offset, block)):
                self.excused["a miner's window"] += 1
            else:
                self.findings.append(f"{program.name} has not committed all of window {window}")

    def compare(self) -> None:
        """Both validators' settlements, once both have them, are the same."""
        validator = next(p for p in self.world.programs if p.role == "validator")
        for epoch in list(self.settlements):
            file = validator.folder / "verdicts" / f"settlement-{epoch}.json"
            late = self.world.chain.get_head() > epoch + 4 * DEMO_TIMING.tempo
            if not file.exists() and not late:
                continue
            expected = self.settlements.pop(epoch)
            self.compared += 1
            # a window without an entry in the validator's journal is judged by the settlement
            span = self._get_span(expected)
            spoilt = validator.weather.spoils(span)
            if file.exists() and _is_same(json.loads(file.read_text()), expected):
                self.equal += 1
            elif spoilt:
                self.excused["a validator's settlement"] += 1
            else:
                self.findings.append(f"the settlement of epoch {epoch} is another, or missing")
            self._look_at_verdicts(expected)
            waiting = [w for settlement in self.settlements.values() for w in settlement.windows]
            oldest = min([*expected.windows, *waiting], default=0)
            for window in [w for w in self.audits if w < oldest]:
                del self.audits[window]

    def _get_span(self, settlement: Settlement) -> range:
        windows = (*settlement.windows, *settlement.abstained)
        return range(compute_block(DEMO_TIMING, min(windows), Phase.CHALLENGE), settlement.epoch)

    def _look_at_verdicts(self, settlement: Settlement) -> None:
        """Every miner that mined in time was accepted: the disturbed ones lost nothing of their
        work."""
        hotkeys = {self.world.hotkeys[name]: name for name in MINERS}
        for window in settlement.windows:
            for hotkey, name in hotkeys.items():
                verdict = self.audits[window].verdicts[hotkey]
                if verdict.reason not in (Reason.ACCEPTED, Reason.NO_COMMITMENT):
                    self.findings.append(f"{name} in window {window}: {verdict.detail}")
        if any(settlement.abstained):  # window 0 had begun before anybody was there
            self.findings.append(f"windows {settlement.abstained} count for nobody")


def _is_same(found: dict[str, Any], expected: Settlement) -> bool:
    return (
        found["windows"] == list(expected.windows)
        and found["abstained"] == list(expected.abstained)
        and found["weights"] == {str(uid): weight for uid, weight in expected.weights.items()}
    )
