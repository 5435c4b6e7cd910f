"""A window played on the stage of `tests.killing`, with a proxy before the chain and the beacon.

At a chosen block a fault begins before the neurons have their turns, and then the next one; at last
all is well, and they have their turns once more before the next block. So faults strike what is
done in a phase of the window, and whoever tries again in time has lost nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from assay.network.beacon import Patience
from assay.network.chain import Target
from assay.network.chain import connection as connecting
from assay.neurons import joining, wiring
from assay.neurons.config import Settings
from tests.faults.proxy import FaultProxy
from tests.killing import programs
from tests.killing.network import SEED
from tests.killing.outcome import Outcome, describe
from tests.killing.points import Points
from tests.killing.stage import NEURONS, ROLES, Actor, Run, Stage, fork

SERVICES = ("chain", "beacon")
#: (service, fault).
Strike = tuple[str, str]
#: Block → what strikes there, one after the other.
Plan = Mapping[int, Sequence[Strike]]
#: Turns that the neurons have when all is well again.
_TURNS = 2


def run_proxies(pipe: Any, upstreams: Mapping[str, str]) -> None:
    """Proxies until the stage is over; does what it is told."""
    proxies = {service: FaultProxy(url) for service, url in upstreams.items()}
    pipe.send({service: proxy.url for service, proxy in proxies.items()})
    while True:
        strike = pipe.recv()
        for proxy in proxies.values():
            proxy.clear()
        if strike is not None:
            service, name = strike
            proxies["chain"].drop_dead()  # what fell silent before is not what is met now
            proxies[service].set_fault(name)
            if name in ("redirect", "busy", "bomb") and service == "chain":
                proxies[service].cut()  # they strike at a handshake
        pipe.send({service: dict(proxy.hits) for service, proxy in proxies.items()})


class Moody:
    """A target that gives up soon while a fault is on, and not while it is not."""

    def __init__(self, target: Target, storm: Any) -> None:
        self._storm = storm
        self._calm = replace(target, deadline_s=6.0, patience_s=30.0, head_s=30.0, still_s=1e9)
        self._hasty = replace(
            target, deadline_s=0.4, patience_s=0.8, head_s=0.8, inclusion_s=0.8, still_s=1e9
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hasty if self._storm.value else self._calm, name)


def run_neuron(
    pipe: Any, role: str, settings: Settings, folder: Any, clock: Any, points: Points, storm: Any
) -> None:
    """One program until it is killed."""
    open_connection = wiring.Connection
    wiring.Connection = lambda target: open_connection(Moody(target, storm))  # type: ignore
    connecting.CONNECT_S = 4.0
    patience = Patience(stagger_s=0.05, answer_s=0.5, total_s=0.8, aside_s=0, pause_s=0)
    open_beacons = joining.HttpBeacons
    joining.HttpBeacons = (  # type: ignore
        lambda *arguments, **options: open_beacons(*arguments, **options, patience=patience)
    )
    programs.run_neuron(pipe, role, settings, folder, clock, points)


class FaultRun(Run):
    """One run of the play in bad weather.

    Attributes:
        hits: service → fault → what it has struck.
    """

    def __init__(self, stage: "FaultStage", plan: Plan, clear: bool) -> None:
        super().__init__(stage, {})
        self._plan = plan
        self._clear = clear
        self._storm = fork.RawValue("b", 0)
        self.actors["proxies"] = Actor("proxies")
        self.hits: dict[str, dict[str, int]] = {}

    def play(self) -> None:
        beacon, proxies = self.actors["beacon"], self.actors["proxies"]
        stage = self._stage
        seed, genesis_ms = SEED, stage.beacon_ms
        beacon.start(self._log("beacon"), programs.run_beacon, seed, genesis_ms, self._clock)
        upstreams = {"chain": f"ws://127.0.0.1:{stage.port}", "beacon": self._hear(beacon)}
        self._start_devnet()
        proxies.start(self._log("proxies"), run_proxies, upstreams)
        self._urls = self._hear(proxies)
        for role in NEURONS:
            self._start(role)
            self._settle()
        while self._target < stage.end_block:
            self._target += 1
            strikes = self._plan.get(self._target, ())
            self._blow(strikes[0] if strikes else None)
            self._reach()
            self._settle()
            for strike in strikes or (None,):
                self._blow(strike)
                self._take_turns()
            if strikes and self._clear:
                self._blow(None)
                for _ in range(_TURNS):
                    self._take_turns()
        self._blow(None)

    def _take_turns(self) -> None:
        for role in NEURONS:
            actor = self.actors[role]
            if actor.state == "idle":
                actor.state = "busy"
                self._send(actor, "go")
                self._settle()

    def _blow(self, strike: Strike | None) -> None:
        """The weather from now on."""
        self._storm.value = strike is not None
        proxies = self.actors["proxies"]
        proxies.pipe.send(strike)
        self.hits = self._hear(proxies)

    def _start(self, role: str) -> None:
        settings = self._stage.make_settings(role, self._urls["beacon"])
        chain = settings.chain.model_copy(update={"network": self._urls["chain"]})
        settings = settings.model_copy(update={"chain": chain})
        self.actors[role].start(
            self._log(role), run_neuron, role, settings, self._stage.net, self._clock,
            self._make_points(role), self._storm,
        )  # fmt: skip


class FaultStage(Stage):
    """A network founded once, played on in any weather."""

    def play_in(self, plan: Plan, clear: bool) -> tuple[Outcome, dict[str, dict[str, int]]]:
        """A run, and what its faults have struck: service → fault → how often.

        Args:
            clear: faults end within their block; else they last until the next block.
        """
        self.prepare()
        run = FaultRun(self, plan, clear)
        try:
            run.play()
        finally:
            run.close()
        found = self._apart(describe, self.net, self.addresses, self.end_block)
        points = {role: run.read_points(role) for role in ROLES}
        return Outcome(found, points, run.deaths), run.hits
