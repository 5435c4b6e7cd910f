"""Estimates the cost and earnings of mining, before anything is paid for. Nothing is sent to the
chain.

Every figure of earnings is rough: it assumes that all windows are like the last one, all epochs
like the last one, that one's own groups are accepted, and that everybody's prices stay.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

from assay.artifacts.mining_history import MeasuredStep
from assay.artifacts.status.miner import DraftingStatus
from assay.inference.checkpoint import Checkpoint
from assay.inference.generate import FLYING
from assay.inference.time_limit import TimeLimit
from assay.network.chain.ports import SubnetReader
from assay.network.store.base import ObjectStore
from assay.neurons.miner.engines import MinerEngines
from assay.neurons.miner.measured_speed import HELP, MeasuredSpeed, measure_step
from assay.neurons.miner.miner import Miner, MinerConfig, MinerDependencies, make_work
from assay.neurons.preflight.check_results import CheckState, PreflightCheck
from assay.neurons.preflight.checks import FollowedParameters
from assay.neurons.preflight.examination import PreflightInputs, examine_network, examine_placement
from assay.protocol.amendment import ParameterHistory
from assay.protocol.beacon import Beacon
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import Parameters
from assay.protocol.window import Block, Phase, compute_block
from assay.session.window_reader import Challenge, find_epoch, get_window_commitments
from assay.session.window_time import compute_window_seconds

_DAY_MS = 86_400_000
#: Share of kept drafts from which wrong tokens cost little; ratio of the two sides' seconds from
#: which the report mentions it.
KEPT_WELL, _UNEVEN = 0.9, 1.5
#: Seconds that servers may take to load the checkpoint before they are measured.
ENGINES_S = 300.0


@dataclass(frozen=True, slots=True)
class Speed:
    """This machine's speed with the checkpoint in force."""

    #: groups, tokens, seconds: of the newest step that was measured, after one warm-up group.
    #: groups: finished in the time of a window; 0: not even one was
    groups: int
    tokens: int
    seconds: float
    window_seconds: float  # from a challenge to the sending of its commitment
    fits: int  # groups that fit into this time
    committed: int  # of these, as many as settings and parameters allow
    drafting: DraftingStatus  # how these seconds were spent


@dataclass(frozen=True, slots=True)
class Earning:
    """A rough estimate, with all of its inputs."""

    window: int  # the last one with final commitments
    #: own_groups: one's own in a window; other_groups: all others' commitments in that window
    own_groups: int
    other_groups: int
    share: float
    paid: int  # rao of alpha that the last epoch paid to all miners, without the burn
    epochs_a_day: float
    alpha_a_day: int  # rao of alpha
    alpha_price: int  # rao for one alpha
    registration: int | None  # rao for a uid; None if one is held
    #: days of earnings that it costs; None if none is needed or there are no earnings
    registration_days: float | None


@dataclass(frozen=True, slots=True)
class DryRun:
    """All checks; speed and earnings if they could be measured."""

    cycle_seconds: float  # from one window to the next
    checks: tuple[PreflightCheck, ...]
    speed: Speed | None
    earning: Earning | None

    @property
    def ready(self) -> bool:
        """Return whether everything is ready for mining, apart from a registration that can be
        paid."""
        return all(check.state is not CheckState.FAIL for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The result for scripts."""
        return {
            "ready": self.ready,
            "cycle_seconds": self.cycle_seconds,
            "checks": [check.to_json() for check in self.checks],
            "speed": self.speed and asdict(self.speed),
            "earning": self.earning and asdict(self.earning),
        }


def dry_run(
    outside: MinerDependencies,
    hotkey: bytes,
    coldkey: bytes,
    parameters: Parameters,
    config: MinerConfig,
    now_ms: int,
    *,
    followed: FollowedParameters | None = None,
    public_store: ObjectStore | None = None,
    public: Callable[[], ObjectStore | None] = lambda: None,
    timer: Callable[[], float] = perf_counter,
    are_engines_busy: bool = False,
) -> DryRun:
    """Check everything that mining needs.

    Args:
        coldkey: the key that would pay for a uid.
        now_ms: Unix time, milliseconds.
        followed: the source of the parameters, including future ones.
        public_store: the store as validators reach it; None: as the miner does.
        public: the store as strangers reach it that have named none.
        timer: monotonic seconds.
        are_engines_busy: a running miner uses them, so `outside` has none.
    """
    chain, config = outside.chain, config.fit(parameters)
    cycle_seconds = parameters.timing.window_blocks * parameters.timing.slot_ms / 1_000
    around = PreflightInputs(
        role="miner",
        folder=Path(),
        groups_per_step=config.groups_per_step,
        hotkey=hotkey,
        coldkey=coldkey,
        chain=chain,
        parameters=parameters,
        followed=followed,
        beacons=outside.beacons,
        store=outside.store,
        shown=public_store,
        public=public,
        checkpoints=outside.checkpoints,
        placement=outside.checkpoints.placement,
    )
    checks, checkpoint = examine_network(around, now_ms)
    if checkpoint is None:
        return DryRun(cycle_seconds, tuple(checks), None, None)
    checks += examine_placement(around, checkpoint)
    if outside.engines is not None:
        outside.engines.wait_until_started(checkpoint)
    speed = measure_speed(outside, hotkey, parameters, config, checkpoint, timer)
    checks.append(_check_speed(speed, parameters))
    if are_engines_busy:
        detail = "the running miner of this folder uses its engines: they were not tested"
        checks.append(PreflightCheck("drafting", CheckState.OK, detail))
    else:
        checks.append(_check_drafting(speed.drafting, outside.engines, config, parameters))
    try:
        earning = estimate_earning(chain, hotkey, parameters, speed.committed)
    except OperatorError as error:
        remedy = "fix the chain first"
        checks.append(PreflightCheck("earning", CheckState.WARN, str(error), remedy))
        earning = None
    return DryRun(cycle_seconds, tuple(checks), speed, earning)


def measure_speed(
    outside: MinerDependencies,
    hotkey: bytes,
    parameters: Parameters,
    config: MinerConfig,
    checkpoint: Checkpoint,
    timer: Callable[[], float],
) -> Speed:
    """Generate real groups of a made-up challenge: one to warm up, one alone, and then as many
    together as a miner would in a window. No step takes longer than a window has time."""
    miner = Miner(
        "dry run", hotkey, ParameterHistory(parameters), outside, config, lambda line: None
    )
    challenge = Challenge(0, Block(0, bytes(32), 0), Beacon(1, b""), checkpoint.digest, parameters)
    work = make_work(challenge, checkpoint)
    window_seconds = compute_window_seconds(parameters.timing, config.commit_margin)
    measured, most = MeasuredSpeed(), min(config.groups_per_step, config.groups)

    def take_step(first: int, count: int) -> MeasuredStep:
        began = timer()
        work.limit = TimeLimit(began + window_seconds, timer)
        made = miner.generate(work, range(first, first + count))
        return measure_step(0, count, made, timer() - began)

    deadline = monotonic() + ENGINES_S
    take_step(0, 1)
    while outside.engines is not None and not outside.engines.is_settled:
        if monotonic() > deadline:
            break
        take_step(0, 1)  # servers load the checkpoint at the same time
    newest = take_step(1, 1)
    measured.add_step(newest)
    if newest.is_whole and (count := measured.choose(window_seconds, most)) > 1:
        newest = take_step(2, count)
        measured.add_step(newest)
    assert miner.drafting is not None, "it has just generated"
    fits = measured.count_fitting(window_seconds, most, parameters.work.group_cap) or 0
    return Speed(
        groups=newest.made,
        tokens=newest.tokens,
        seconds=newest.seconds,
        window_seconds=window_seconds,
        fits=fits,
        committed=min(fits, config.groups),
        drafting=miner.drafting,
    )


def _check_speed(speed: Speed, parameters: Parameters) -> PreflightCheck:
    detail = (
        f"{speed.groups} groups with {speed.tokens:,} tokens in {speed.seconds:.1f} s: "
        f"{speed.fits:,} fit into the {speed.window_seconds:.0f} s of a window, "
        f"{speed.committed:,} would be committed"
    )
    if not speed.committed:
        remedy = f"without groups a window earns nothing: {HELP}"
        return PreflightCheck("speed", CheckState.FAIL, detail, remedy)
    if speed.committed < parameters.work.valued_groups:
        remedy = f"this machine earns next to nothing: {HELP}"
        return PreflightCheck("speed", CheckState.WARN, detail, remedy)
    return PreflightCheck("speed", CheckState.OK, detail)


def _check_drafting(
    spent: DraftingStatus, engines: MinerEngines | None, config: MinerConfig, parameters: Parameters
) -> PreflightCheck:
    """Check which programs drafted, how well, and what would be faster."""
    drafting, reading = spent["drafting_seconds"], spent["reading_seconds"]
    if engines is None:
        detail = f"this program drafts: {drafting:.1f} s drafting, {reading:.1f} s reading"
        if drafting < reading:
            return PreflightCheck("drafting", CheckState.OK, detail)
        remedy = "an inference engine drafts faster: docs/engines.md"
        return PreflightCheck("drafting", CheckState.OK, f"{detail}; {remedy}")
    kept_share = spent["kept"] or 0.0
    detail = (
        f"{kept_share:.1%} of drafts kept, {spent['ahead']} tokens ahead: {drafting:.1f} s "
        f"drafting and {reading:.1f} s reading, at the same time"
    )
    if engines.trouble is not None:
        remedy = "fix the servers that were left out: docs/engines.md"
        return PreflightCheck("drafting", CheckState.WARN, f"{engines.trouble}; {detail}", remedy)
    if not any(engine.state == "drafting" for engine in engines.engines):
        detail = "no server drafts yet: they still load the checkpoint, and this program drafts"
        remedy = "check again in a minute; their logs say what they wait for"
        return PreflightCheck("drafting", CheckState.WARN, detail, remedy)
    faster = list_faster_ways(spent, config.groups_per_step * parameters.work.group_size)
    return PreflightCheck("drafting", CheckState.OK, "; ".join([detail, *faster]))


def list_faster_ways(spent: DraftingStatus, rollouts: int) -> list[str]:
    """Improvements for an operator with engines. `rollouts`: of a step."""
    drafting, reading = spent["drafting_seconds"], spent["reading_seconds"]
    ways = []
    if spent["kept"] is not None and spent["kept"] < KEPT_WELL:
        ways.append("a server in a finer dtype (float16, float32) would get more drafts kept")
    if rollouts < FLYING:
        ways.append(f"a groups_per_step of {FLYING} rollouts would keep the servers busier")
    if reading > _UNEVEN * drafting:
        ways.append(
            "the verification pass is the bottleneck: give it its own GPU, or split3 on a GPU"
        )
    if drafting > _UNEVEN * reading:
        ways.append("the servers are the bottleneck: add one")
    return ways


def estimate_earning(
    chain: SubnetReader, hotkey: bytes, parameters: Parameters, own_groups: int
) -> Earning:
    """Estimate the earnings of this many accepted groups in a window, if all else stays."""
    timing, head = parameters.timing, chain.get_head()
    window = max(0, (head - timing.commit_offset) // timing.window_blocks)
    block = min(head, compute_block(timing, window, Phase.COMMIT))
    members = chain.get_members(block)
    other_groups = sum(
        min(committed.groups, parameters.work.group_cap)
        for other, committed in get_window_commitments(chain, window, block).items()
        if other in members and other != hotkey
    )
    paid = sum(
        row.emission
        for row in chain.get_metagraph(head)
        if row.incentive and row.uid != parameters.identity.owner_uid
    )
    epoch = find_epoch(chain, parameters, head + 1)
    epoch_blocks = find_epoch(chain, parameters, epoch + 1) - epoch
    epochs_a_day = _DAY_MS / (timing.slot_ms * epoch_blocks)
    all_groups = own_groups + other_groups
    share = own_groups / all_groups if all_groups else 0.0
    alpha_a_day, price = int(share * paid * epochs_a_day), chain.get_alpha_price()
    held = hotkey in chain.get_members(head)
    cost = None if held else chain.quote_registration(hotkey).total
    rao_a_day = alpha_a_day * price / 10**9
    return Earning(
        window=window,
        own_groups=own_groups,
        other_groups=other_groups,
        share=share,
        paid=paid,
        epochs_a_day=epochs_a_day,
        alpha_a_day=alpha_a_day,
        alpha_price=price,
        registration=cost,
        registration_days=cost / rao_a_day if cost is not None and rao_a_day else None,
    )
