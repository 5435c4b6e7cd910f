"""A window played on the stage of `tests.killing`, with proxies before chain, beacon and stores.

Files go to a bucket of an S3-speaking server and are read at its public address. At a chosen block
a fault begins before the neurons have their turns. It stays until it has struck and that turn is
over; then the next fault begins. A fault that meets no request is skipped. At the end there are no
faults, and the neurons have their turns once more before the next block. So faults strike the work
of a phase of the window, and a program that tries again in time loses nothing.
"""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import SecretStr

from assay.settings.sections import Settings
from tests.faults.bucket import BUCKET, PREFIX, REGION, run_bucket
from tests.faults.programs import SERVICES, Strike, run_neuron, run_proxies
from tests.killing import programs
from tests.killing.network import SEED, TIMING, found_network
from tests.killing.outcome import Outcome, describe
from tests.killing.stage import NEURONS, PATIENCE_S, ROLES, Actor, Run, Stage, find_port, fork

#: Time for many faults in each phase, each at a block of its own where it takes one.
FAULT_TIMING = replace(
    TIMING,
    window_blocks=47,
    commit_offset=14,
    audit_offset=15,
    sample_offset=17,
    fetch_end=23,
    mirror_end=24,
    verdict_end=25,
)
#: Block → what strikes there, one after the other.
Plan = Mapping[int, Sequence[Strike]]
#: Turns that the neurons have when all is well again.
_TURNS = 2


@dataclass(frozen=True, slots=True)
class Weather:
    """The effects of a run's faults.

    Attributes:
        struck: block → faults that struck there, in order.
        asked: block → service → requests.
    """

    struck: dict[int, list[Strike]]
    asked: dict[int, dict[str, int]]


class FaultRun(Run):
    """One run of the play in bad weather.

    Args:
        clear: faults end within their block; else the first of a block lasts until the next.
    """

    def __init__(self, stage: "FaultStage", plan: Plan, clear: bool) -> None:
        super().__init__(stage, {})
        self._fault_stage = stage
        self._plan = plan
        self._clear = clear
        self._storm = fork.RawValue("b", 0)
        self._requests: dict[str, int] = dict.fromkeys(SERVICES, 0)
        self.actors["proxies"] = Actor("proxies")
        self.weather = Weather({}, {})

    def play(self) -> None:
        beacon, proxies = self.actors["beacon"], self.actors["proxies"]
        stage = self._fault_stage
        beacon.start(self._log("beacon"), programs.run_beacon, SEED, stage.beacon_ms, self._clock)
        upstreams = {
            "chain": (f"ws://127.0.0.1:{stage.port}", 0),
            "beacon": (self._hear(beacon), 0),
            "store": (stage.front, stage.store_port),
            "bucket": (stage.endpoint, 0),
        }
        self._start_devnet()
        proxies.start(self._log("proxies"), run_proxies, upstreams)
        self._urls = self._hear(proxies)
        strikes = deque(self._plan.get(self._target, ()))
        self._blow(strikes[0] if strikes else None)
        for role in NEURONS:
            self._start(role)
            self._settle()
        self._strike(strikes)
        self._look()
        while self._target < stage.end_block:
            self._target += 1
            before = dict(self._requests)
            self._pass_block(deque(self._plan.get(self._target, ())))
            self._look()
            asked = {name: count - before[name] for name, count in self._requests.items()}
            self.weather.asked[self._target] = asked
        self._blow(None)

    def _pass_block(self, strikes: deque[Strike]) -> None:
        self._blow(strikes[0] if strikes else None)
        self._reach()
        self._settle()
        if strikes and self._clear:
            self._strike(strikes)
        else:
            self._take_turns(NEURONS)

    def _strike(self, strikes: deque[Strike]) -> None:
        """All of it; then the neurons have their turns in peace."""
        quiet = 0
        while strikes:
            for role in NEURONS:
                self._take_turns((role,))
                struck = self._look()
                quiet = 0 if struck else quiet + 1
                if struck:
                    self.weather.struck.setdefault(self._target, []).append(strikes[0])
                if struck or quiet == len(NEURONS):  # else somebody else may ask
                    quiet = 0
                    strikes.popleft()
                    self._blow(strikes[0] if strikes else None)
        for _ in range(_TURNS):
            self._take_turns(NEURONS)

    def _take_turns(self, roles: Sequence[str]) -> None:
        for role in roles:
            actor = self.actors[role]
            if actor.state == "idle":
                actor.state = "busy"
                self._send(actor, "go")
                self._settle()

    def _blow(self, strike: Strike | None) -> None:
        """The weather from now on."""
        self._storm.value = strike is not None
        self._tell("blow", strike)

    def _look(self) -> bool:
        """Whether the active fault has struck."""
        return self._tell("look", None) > 0

    def _tell(self, what: str, strike: Strike | None) -> int:
        proxies = self.actors["proxies"]
        proxies.pipe.send((what, strike))
        hits, requests = self._hear(proxies)
        for service, (place, pattern) in SERVICES.items():
            found = [n for asked, n in requests[place].items() if re.search(pattern, asked)]
            self._requests[service] = sum(found)
        return int(hits)

    def _start(self, role: str) -> None:
        settings = self._fault_stage.make_settings(role, self._urls["beacon"])
        chain = settings.chain.model_copy(update={"network": self._urls["chain"]})
        store = settings.store.model_copy(update={"endpoint": self._urls["bucket"]})
        settings = settings.model_copy(update={"chain": chain, "store": store})
        self.actors[role].start(
            self._log(role),
            run_neuron,
            role,
            settings,
            self._stage.net,
            self._clock,
            self._make_points(role),
            self._storm,
        )


class FaultStage(Stage):
    """A network founded once, played on in any weather.

    Attributes:
        store_port: port of the proxy before the bucket's public address, which is on chain.
        endpoint, front: of the S3 service, and the bucket's public address behind the proxy.
    """

    def __init__(self, root: Path) -> None:
        self.store_port = find_port()
        self.locator = f"http://127.0.0.1:{self.store_port}/{PREFIX}"
        super().__init__(root)
        self._bucket = Actor("bucket", daemon=True)
        self._bucket.start(root / "bucket.log", run_bucket)
        self.endpoint, self.front, self._key, self._secret = self._bucket.pipe.recv()

    def found(self) -> tuple[int, int, int, dict[str, str]]:
        founded: tuple[int, int, int, dict[str, str]] = self._apart(
            found_network, self.net, self.beacon_ms, FAULT_TIMING, self.locator
        )
        return founded

    def play_in(self, plan: Plan, clear: bool) -> tuple[Outcome, Weather]:
        """A run, and what its faults have struck.

        Args:
            clear: faults end within their block; else the first of a block lasts until the next.
        """
        self.prepare()
        self._serve("fill")
        run = FaultRun(self, plan, clear)
        try:
            run.play()
        finally:
            run.close()
        self._serve("keep")
        found = self._apart(describe, self.net, self.addresses, self.end_block)
        points = {role: run.read_points(role) for role in ROLES}
        return Outcome(found, points, run.deaths), run.weather

    def make_settings(self, role: str, beacon_url: str) -> Settings:
        """The store is the bucket; its endpoint is named by the run."""
        settings = super().make_settings(role, beacon_url)
        store = settings.store.model_copy(
            update={
                "locator": self.locator,
                "readable": (self.locator,),
                "upload": f"s3://{BUCKET}/{PREFIX}",
                "region": REGION,
                "access_key_id": SecretStr(self._key),
                "secret_access_key": SecretStr(self._secret),
            }
        )
        return settings.model_copy(update={"store": store})

    def _serve(self, what: str) -> None:
        self._bucket.pipe.send((what, self.net / "store"))
        assert self._bucket.pipe.poll(PATIENCE_S)
        self._bucket.pipe.recv()
