"""A stage on which one window of a subnet is played, again and again, by processes that may die.

It lives in a process of its own which has loaded model and SDK and has one thread, so that devnet,
beacon, miner, validator and trainer are forked off it within milliseconds. Time is virtual: one
block at a time, and at each block the neurons have their turns one after the other until each is
idle or waits for its extrinsic. So a run repeats itself up to the point at which somebody dies.
"""

import multiprocessing
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from assay.lab.localnet.services import read_founding
from assay.settings.sections import (
    BeaconSettings,
    ChainSettings,
    ComputeSettings,
    MinerSettings,
    Settings,
    StoreSettings,
    TrainerSettings,
    ValidatorSettings,
    WalletSettings,
)
from tests.killing.network import SEED, WALLETS, found_network, load_everything
from tests.killing.outcome import Outcome, describe
from tests.killing.points import Fate, Points
from tests.killing.programs import become, run_beacon, run_devnet, run_neuron

GROUPS = 4
NEURONS = ("miner", "validator", "trainer")
ROLES = ("devnet", *NEURONS)
#: Longest wait for any process, seconds of the clock on the wall.
PATIENCE_S = 240.0
#: Lives that one process may have in one run.
_LIVES = 60

#: The stage of this process.
current: "Stage"

fork = multiprocessing.get_context("fork")


#: role → how its lives end, one after the other; the lives after these are long.
Fates = Mapping[str, Sequence[Fate]]


class StuckError(Exception):
    """Nobody does anything any more."""


class Actor:
    """A process and the pipe to it.

    Args:
        daemon: it ends with this process, which does not wait for it.

    Attributes:
        state: "busy"; "claimed", which has handed over an extrinsic, or so it says; "submitted",
            whose extrinsic waits for a block; "idle".
        lives: how often it was started.
    """

    def __init__(self, role: str, daemon: bool = False) -> None:
        self.role = role
        self._daemon = daemon
        self.state = "busy"
        self.lives = 0
        self.pipe: Any = None
        self.process: Any = None

    def start(self, log: Path, run: Any, *arguments: Any) -> None:
        if self.pipe is not None:
            self.pipe.close()
        self.pipe, other = fork.Pipe()
        mine = self.pipe

        def begin() -> None:
            mine.close()
            become(log, run, other, *arguments)

        self.process = fork.Process(target=begin, daemon=self._daemon)
        self.process.start()
        other.close()
        self.state = "busy"
        self.lives += 1

    @property
    def was_killed(self) -> bool:
        return bool(self.process.exitcode == -9)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join(PATIENCE_S)
            self.pipe.close()
            self.process = self.pipe = None


class Run:
    """One run of the play."""

    def __init__(self, stage: "Stage", fates: Fates) -> None:
        self._stage = stage
        self._fates = {role: list(fates.get(role, ())) for role in ROLES}
        self._clock = fork.RawValue("q", stage.start_ms)
        self._target = stage.start_block
        self.deaths: list[tuple[str, str]] = []
        self.actors = {role: Actor(role) for role in (*ROLES, "beacon")}

    def play(self) -> None:
        """From the block before the window to the one after the epoch that pays."""
        beacon = self.actors["beacon"]
        beacon.start(self._log("beacon"), run_beacon, SEED, self._stage.beacon_ms, self._clock)
        self._beacon_url = self._hear(beacon)
        self._start_devnet()
        for role in NEURONS:
            self._start(role)
            self._settle()
        while self._target < self._stage.end_block:
            self._target += 1
            self._reach()
            self._settle()
            for role in NEURONS:
                actor = self.actors[role]
                if actor.state == "idle":
                    actor.state = "busy"
                    self._send(actor, "go")
                    self._settle()

    def read_points(self, role: str) -> list[str]:
        """A role's points so far, in all its lives."""
        return (self._stage.logs / f"{role}.points").read_text().splitlines()

    def close(self) -> None:
        for actor in self.actors.values():
            actor.end()

    # --- starting and restarting

    def _log(self, role: str) -> Path:
        return self._stage.logs / f"{role}.log"

    def _make_points(self, role: str) -> Points:
        fates = self._fates[role]
        fate = fates.pop(0) if fates else Fate()
        return Points(self._stage.net, self._stage.logs / f"{role}.points", fate)

    def _start_devnet(self) -> None:
        actor = self.actors["devnet"]
        while True:
            points = self._make_points("devnet")
            actor.start(
                self._log("devnet"), run_devnet, self._stage.net / "chain", self._stage.port, points
            )
            try:
                self._hear(actor)
                break
            except EOFError:
                self._bury(actor)
        for role in NEURONS:  # extrinsics that waited may have gone with the pool
            if self.actors[role].state == "submitted":
                self.actors[role].state = "busy"

    def _start(self, role: str) -> None:
        settings = self._stage.make_settings(role, self._beacon_url)
        self.actors[role].start(
            self._log(role),
            run_neuron,
            role,
            settings,
            self._stage.net,
            self._clock,
            self._make_points(role),
        )

    def _bury(self, actor: Actor) -> None:
        actor.process.join(PATIENCE_S)
        if not actor.was_killed or actor.lives > _LIVES:
            raise StuckError(f"{actor.role} ended by itself: {actor.process.exitcode}")
        self.deaths.append((actor.role, self.read_points(actor.role)[-1]))

    # --- time

    def _ask_devnet(self, what: str, number: int = 0) -> Any:
        while True:
            actor = self.actors["devnet"]
            try:
                actor.pipe.send((what, number))
                return self._hear(actor)
            except (EOFError, BrokenPipeError, ConnectionResetError):
                self._bury(actor)
                self._start_devnet()

    def _reach(self) -> None:
        self._clock.value = self._ask_devnet("reach", self._target)
        for role in NEURONS:
            if self.actors[role].state == "submitted":
                self.actors[role].state = "busy"

    def _settle(self) -> None:
        """Until everybody is idle or waits for a block."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            started = [a for role in NEURONS if (a := self.actors[role]).process is not None]
            claimed = [actor for actor in started if actor.state == "claimed"]
            if not claimed and all(actor.state != "busy" for actor in started):
                return
            if claimed:
                waiting = set(self._ask_devnet("waiting"))
                for actor in claimed:
                    if self._stage.addresses[actor.role] in waiting:
                        actor.state = "submitted"
            living = [a for a in self.actors.values() if a.process is not None]
            by_pipe = {a.pipe: a for a in living}
            for ready in wait(list(by_pipe), 0.005 if claimed else 1.0):
                self._attend(by_pipe[ready])
            if time.monotonic() > deadline:
                states = {a.role: a.state for a in living}
                raise StuckError(f"block {self._target}: {states}")

    def _attend(self, actor: Actor) -> None:
        try:
            said = actor.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._bury(actor)
            if actor.role == "devnet":
                self._start_devnet()
            else:
                self._start(actor.role)
            return
        actor.state = "claimed" if said == "submitted" else said

    def _send(self, actor: Actor, word: str) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it is found dead when listened to
            actor.pipe.send(word)

    def _hear(self, actor: Actor) -> Any:
        if not actor.pipe.poll(PATIENCE_S):
            raise StuckError(f"{actor.role} says nothing")
        return actor.pipe.recv()


class Stage:
    """A network founded once, in a folder to which every run returns.

    Args:
        root: of a path short enough for a locator.
        episodes: see `found_network`.
    """

    def __init__(self, root: Path, *, episodes: bool = False) -> None:
        self.root = root
        self._episodes = episodes
        self.net, self.logs, self._pristine = root / "net", root / "logs", root / "pristine"
        self.port = find_port()
        torch.set_num_threads(1)
        load_everything()
        self.beacon_ms = (time.time_ns() // 1_000_000 - 1_000_000) // 1_000 * 1_000
        self.net.mkdir()
        self.logs.mkdir()
        founded = self.found()
        self.start_block, self.start_ms, self.end_block, self.addresses = founded
        founding = read_founding(self.net / "chain")
        assert founding is not None
        self.founding = founding
        self.net.rename(self._pristine)

    def found(self) -> tuple[int, int, int, dict[str, str]]:
        """Founds the network; see `found_network`."""
        found = partial(found_network, episodes=self._episodes)
        founded: tuple[int, int, int, dict[str, str]] = self._apart(found, self.net, self.beacon_ms)
        return founded

    def play(self, fates: Fates) -> Outcome:
        """A run on the network as it was founded, and all that there is to compare."""
        self.prepare()
        run = Run(self, fates)
        try:
            run.play()
        finally:
            run.close()
        found = self._apart(describe, self.net, self.addresses, self.end_block)
        return Outcome(found, {role: run.read_points(role) for role in ROLES}, run.deaths)

    def prepare(self) -> None:
        """The network as it was founded."""
        for folder in (self.net, self.logs):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._pristine, self.net)
        self.logs.mkdir()

    def make_settings(self, role: str, beacon_url: str) -> Settings:
        locator = (self.net / "store").as_uri()
        return Settings(
            chain=ChainSettings(
                network=f"ws://127.0.0.1:{self.port}",
                genesis_hash=self.founding.genesis_hash,
                netuid=self.founding.netuid,
            ),
            wallet=WalletSettings(name=WALLETS[role], path=self.net / "wallets"),
            store=StoreSettings(locator=locator, readable=(locator,)),
            beacon=BeaconSettings(endpoints=(beacon_url,)),
            compute=ComputeSettings(device="cpu", threads=1),
            miner=MinerSettings(
                dir=self.net / "miner", groups=GROUPS, groups_per_step=2, commit_margin=3
            ),
            # threads that read would make points of a kill differ from run to run
            validator=ValidatorSettings(dir=self.net / "validator", fetches=0),
            trainer=TrainerSettings(dir=self.net / "trainer", epochs=1),
        )

    def _apart(self, work: Any, *arguments: Any) -> Any:
        """Does something that starts threads in a process that is gone afterwards."""
        mine, other = fork.Pipe()

        def run(pipe: Any) -> None:
            pipe.send(work(*arguments))

        process = fork.Process(target=become, args=(self.logs / "apart.log", run, other))
        process.start()
        other.close()
        try:
            assert mine.poll(PATIENCE_S)
            return mine.recv()
        except EOFError:
            raise StuckError((self.logs / "apart.log").read_text()) from None
        finally:
            process.join(PATIENCE_S)


def find_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
