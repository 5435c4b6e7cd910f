"""Miner, validator and trainer as `assay mine` and its like run them, a turn a block.

Each life is a thread that goes through the program's own composition (`program.py` of each neuron)
and loop; it joins the soak's world instead of a node. Its pause between two steps ends its turn, so
that one of them at a time does anything.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from assay.artifacts.checkpoints import folder as checkpoint_folder
from assay.artifacts.checkpoints.folder import CHECKPOINTS_KEPT, CheckpointFolder, DownloadSettings
from assay.artifacts.discovery import make_mirrors
from assay.network.beacon import HttpBeacons
from assay.network.chain.errors import ChainError
from assay.neurons.miner import program as miner_program
from assay.neurons.preflight import starting
from assay.neurons.program import loop as program_loop
from assay.neurons.program import running
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer import program as trainer_program
from assay.neurons.trainer import trainer
from assay.neurons.validator import program as validator_program
from assay.session.parameter_follower import ParameterFollower
from assay.session.resources import Account
from assay.settings.sections import MinerSettings, Settings, TrainerSettings, ValidatorSettings
from tests.soak.weather import FaultyBeacons, FaultyChain, FaultyStore, Killed, Weather

#: Seconds that a turn may take: a program that hangs fails the soak.
_TURN_S = 120.0
#: Threads → the program that they are the main thread of.
_current = threading.local()


class StuckError(Exception):
    """A program does not come to rest, or has ended by itself."""


class Program:
    """One neuron and its folder, through all its lives.

    Args:
        stores: locator → store, undisturbed.
        groups: a window, of a miner.
    """

    def __init__(
        self, role: str, name: str, folder: Path, world: Any, weather: Weather, groups: int = 0
    ) -> None:
        self.role = role
        self.name = name
        self.folder = folder
        self.weather = weather
        self.lives = 0
        self.failure: BaseException | None = None
        self._world = world
        self.groups = groups
        self._go, self._rests = threading.Semaphore(0), threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._models: CheckpointFolder | None = None
        self._stopped = False

    # --- from outside

    def turn(self) -> None:
        """Lets it do all that it can at this block, through as many lives as that takes."""
        while True:
            if self._thread is None:
                self.lives += 1
                self._thread = threading.Thread(target=self._live, name=self.name, daemon=True)
                self._thread.start()
            else:
                self._go.release()
            if not self._rests.acquire(timeout=_TURN_S):
                raise StuckError(f"{self.name} does not end its turn")
            if self._thread is not None:
                return

    def revive(self) -> None:
        """Start a program that has ended by itself again in the next turn."""
        if self.failure is not None:
            self.failure = self._thread = None

    def stop(self) -> None:
        """Ends it as a signal would."""
        if self._thread is not None:
            thread, self._stopped = self._thread, True
            self._go.release()
            thread.join(_TURN_S)
            if thread.is_alive():
                raise StuckError(f"{self.name} does not end")

    # --- its own thread

    def is_set(self) -> bool:
        """Whether the event that stops a loop is set."""
        return self._stopped

    def wait(self, timeout: float | None = None) -> bool:
        """End the turn, once no background work is under way."""
        for download in () if self._models is None else self._models.downloads:
            if download.thread is not None:
                download.thread.join(_TURN_S)
        self._rests.release()
        self._go.acquire()
        return self._stopped

    def _live(self) -> None:
        _current.program = self
        self.weather.enter()
        run: Any = {
            "miner": miner_program.run_miner,
            "validator": validator_program.run_validator,
            "trainer": trainer_program.run_trainer,
        }[self.role]
        try:
            run(self._make_settings())
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - told by `turn`
            self.failure = error
        finally:
            thread, self._thread = self._thread, None
            if self.failure is not None and not self._stopped:
                self._thread = thread  # no further life
            self._rests.release()

    def _make_settings(self) -> Settings:
        settings = Settings()
        settings.store.locator = self._world.get_locator(self.name)
        settings.miner = MinerSettings(dir=self.folder, groups=max(1, self.groups))
        settings.validator = ValidatorSettings(dir=self.folder)
        settings.trainer = TrainerSettings(
            dir=self.folder, problems=0, epochs=1, learning_rate=1e-7
        )
        return settings

    @contextmanager
    def join(self, settings: Settings, folder: Path, kind: str, placement: Any) -> Iterator[Any]:
        """Join as `join_network` does, in the soak's world."""
        world, weather = self._world, self.weather
        chain = FaultyChain(world.chain, weather)
        stores = Stores(world.stores, weather)
        with ExitStack() as stack:
            stack.enter_context(program_loop.claim_folder(folder, kind))
            mirrors = make_mirrors(chain, world.parameters, stores.open)  # type: ignore[arg-type]
            fetching = DownloadSettings(mirrors, in_background=True)
            models = CheckpointFolder(folder / "models", fetching, CHECKPOINTS_KEPT, placement)
            self._models = models
            stack.callback(models.close)
            beacons: Any = FaultyBeacons(world.beacons, weather)
            if world.relay is not None:
                beacons = HttpBeacons(
                    world.beacons.chain,
                    [world.relay],
                    folder / "beacons",
                    lambda: int(world.get_now_ms() + world.clock_offset_ms),
                    world.patience,
                )
                stack.callback(beacons.close)
            sources = JudgeSources(chain, beacons, models, stores)  # type: ignore[arg-type]
            hotkey = world.hotkeys[self.name]
            account = Account(SimpleNamespace(hotkey=None), hotkey, hotkey)  # type: ignore[arg-type]
            followed = self._follow(chain, stores.open)
            yield SimpleNamespace(
                folder=folder,
                account=account,
                chain=chain,
                followed=followed,
                history=followed.history,
                parameters=world.parameters,
                sources=sources,
                beacons=beacons,
                stores=stores,
                checkpoint_mirrors=lambda: iter(()),
                pool=None,
            )

    def _follow(self, chain: Any, open_store: Any) -> ParameterFollower:
        """The follower of a started program; the program is started again if no node answered
        it."""
        while True:
            try:
                return ParameterFollower(chain, open_store, self.folder / "rules")
            except ChainError:
                if self.wait():
                    raise Killed from None

    def open_store(self) -> FaultyStore:
        """Its own."""
        return FaultyStore(self._world.stores[self._world.get_locator(self.name)], self.weather)


class Stores:
    """The stores that a program may read."""

    def __init__(self, stores: dict[str, Any], weather: Weather) -> None:
        self._stores = stores
        self._weather = weather

    def get(self, locator: str) -> FaultyStore | None:
        store = self._stores.get(locator)
        return None if store is None else FaultyStore(store, self._weather)

    def open(self, locator: str) -> FaultyStore:
        return FaultyStore(self._stores[locator], self._weather)


def _get_program() -> Program:
    program: Program = _current.program
    return program


def take_over(get_now_ms: Callable[[], int], patch: Callable[[Any, str, Any], None]) -> None:
    """Has the programs of this process join the soak's world, and go by its clock.

    Args:
        patch: sets an attribute, for as long as the soak lasts.
    """
    clock = SimpleNamespace(monotonic=lambda: get_now_ms() / 1e3, time=lambda: get_now_ms() / 1e3)
    patch(checkpoint_folder, "time", clock)
    patch(checkpoint_folder, "SHORT_S", _TURN_S / 2)  # real seconds are as nothing here
    patch(trainer, "time", clock)
    patch(starting, "now_ms", get_now_ms)
    patch(running, "join_network", lambda *arguments: _get_program().join(*arguments))
    patch(running, "catch_signals", lambda _: nullcontext(_get_program()))
    patch(running, "log_lines", lambda *_, **__: nullcontext())

    def open_own(settings: Settings) -> tuple[FaultyStore, str]:
        assert settings.store.locator is not None
        return _get_program().open_store(), settings.store.locator

    for module in (miner_program, validator_program, trainer_program):
        patch(module, "open_own_store", open_own)
