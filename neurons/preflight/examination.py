"""Checks everything that a program needs, before it starts or while it runs, each with a remedy.

`examine` checks everything that could be opened. `look_briefly` checks the things that break
unnoticed, for a starting program. Nothing is sent to the chain.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.ports import BeaconSource
from assay.environments.registry import count_named_units, write_choice
from assay.inference.checkpoint import Checkpoint
from assay.inference.folder import ComingCheckpointError
from assay.inference.implementations import DEFAULT_IMPLEMENTATION
from assay.inference.placement import Placement
from assay.inference.placing.devices import CPU, examine_device
from assay.inference.workers.pool import WorkerPool
from assay.network.chain.ports import SubnetReader
from assay.network.store.base import ObjectStore
from assay.neurons.preflight.agreement import check_agreement, measure_agreement
from assay.neurons.preflight.audit_speed import check_audit_speed, count_miners, measure_audit_speed
from assay.neurons.preflight.check_results import CheckState, PreflightCheck, attempt
from assay.neurons.preflight.checks import (
    FollowedParameters,
    check_amendment,
    check_beacon,
    check_chain,
    check_checkpoint,
    check_clock,
    check_device,
    check_disk,
    check_gate,
    check_memory,
    check_permit,
    check_program,
    check_proposals,
    check_registration,
    check_relays,
    check_sandbox_memory,
    check_store,
    check_trainer,
)
from assay.neurons.program.loop import STATUS_FILE, is_running
from assay.protocol.parameters import GateRule, Parameters
from assay.sandbox import count_cores
from assay.session.memory import count_parameters, count_rollouts, estimate_memory, estimate_sandbox
from assay.training import LearnConfig

logger = logging.getLogger("assay")

_ALL = (
    "chain",
    "clock",
    "amendment",
    "registration",
    "relays",
    "beacon",
    "checkpoint",
    "disk",
    "device",
    "memory",
)
#: Role → all of its checks.
_EXPECTED = {
    "miner": (*_ALL, "store"),
    "validator": (*_ALL, "permit", "speed"),
    "trainer": (*_ALL, "store", "trainer"),
}


@dataclass(frozen=True, slots=True)
class PreflightInputs:
    """The surroundings of a program. None for parts that could not be opened, or that it does not
    have."""

    role: str  # "miner", "validator" or "trainer"
    folder: Path  # the program's own; it need not exist yet
    groups_per_step: int  # of a miner
    #: hotkey, coldkey: public keys, 32 bytes each
    hotkey: bytes | None = None
    coldkey: bytes | None = None
    chain: SubnetReader | None = None
    parameters: Parameters | None = None
    followed: FollowedParameters | None = None  # source of the parameters, including future ones
    beacons: BeaconSource | None = None
    #: asks every relay of the beacon for its fault
    relays: Callable[[], Mapping[str, str]] | None = None
    store: ObjectStore | None = None  # the store for writing
    #: shown: the same store as others reach it; public: as strangers that have named no store
    shown: ObjectStore | None = None
    public: Callable[[], ObjectStore | None] = lambda: None
    checkpoints: CheckpointFolder | None = None
    learning: LearnConfig | None = None  # how a trainer learns
    proposal_tries: int = 0  # of a trainer, see `StepChoice`
    placement: Placement | None = None  # where and how its models run
    open_pool: Callable[[], AbstractContextManager[WorkerPool]] | None = None  # of judging workers
    is_clock_right: bool = False  # other sources than the chain have confirmed it


def examine(around: PreflightInputs, now_ms: int) -> Iterator[PreflightCheck]:
    """All checks of a role, as they are made. `now_ms`: Unix time, milliseconds."""
    opened: list[Checkpoint] = []
    yield from _examine_network(around, now_ms, opened)
    yield from _examine_machine(around, next(iter(opened), None))
    yield from _examine_program(around.folder, now_ms)


def list_hidden(
    role: str,
    results: Iterable[PreflightCheck],
    remedy: str = "fix the other problems, then check again",
) -> list[PreflightCheck]:
    """Results for checks that the lack of something else has prevented. `found`: all results."""
    looked_at = {check.check for check in results}
    hidden = [name for name in _EXPECTED[role] if name not in looked_at]
    return [PreflightCheck(name, CheckState.WARN, "not checked", remedy) for name in hidden]


def examine_network(
    around: PreflightInputs, now_ms: int
) -> tuple[list[PreflightCheck], Checkpoint | None]:
    """Check things outside this machine. Return the results, and the checkpoint in force if it was
    opened."""
    opened: list[Checkpoint] = []
    return [*_examine_network(around, now_ms, opened)], next(iter(opened), None)


def _examine_network(
    around: PreflightInputs, now_ms: int, opened: list[Checkpoint]
) -> Iterator[PreflightCheck]:
    yield from _examine_chain(around, now_ms)
    yield from _examine_services(around, now_ms)
    chain, rules, checkpoints = around.chain, around.parameters, around.checkpoints
    if chain is None or rules is None or checkpoints is None:
        return

    def look() -> PreflightCheck:
        try:
            check, checkpoint = check_checkpoint(chain, checkpoints, rules)
        except ComingCheckpointError as coming:
            remedy = "wait until it is here, then check again"
            return PreflightCheck("checkpoint", CheckState.WARN, str(coming), remedy)
        opened.append(checkpoint)
        return check

    yield attempt(
        "checkpoint", "delete a damaged copy: a program that needs it fetches it again", look
    )


def look_briefly(around: PreflightInputs, now_ms: int) -> list[PreflightCheck]:
    """Run the checks that take seconds at most: clock, announced parameters, relays, store,
    disk."""
    brief = replace(around, coldkey=None, beacons=None, checkpoints=None, placement=None)
    return [
        *_examine_chain(brief, now_ms),
        *_examine_services(brief, now_ms),
        *_examine_machine(brief, None),
    ]


def warn_briefly(around: PreflightInputs, now_ms: int) -> None:
    """Log a line for each problem."""
    for check in look_briefly(around, now_ms):
        if check.state is not CheckState.OK:
            logger.warning(
                "%s: %s; %s",
                check.check,
                check.detail,
                check.remedy,
                extra={"event": "check_failed"},
            )


def _examine_chain(around: PreflightInputs, now_ms: int) -> Iterator[PreflightCheck]:
    chain, rules, hotkey, coldkey = around.chain, around.parameters, around.hotkey, around.coldkey
    followed, first = around.followed, "fix the chain first"
    if chain is not None:
        remedy = "fix the node, or name another node"
        yield attempt("chain", remedy, lambda: check_chain(chain, rules))
    if chain is not None and rules is not None:
        is_right = around.is_clock_right
        name = "head" if is_right else "clock"
        yield attempt(
            name, first, lambda: check_clock(chain, rules.timing, now_ms, is_right=is_right)
        )
    if chain is not None and followed is not None:
        yield attempt("amendment", first, lambda: check_amendment(chain, followed))
    if chain is not None and hotkey is not None and coldkey is not None:
        remedy = f"{first}, and name the wallet"
        yield attempt("registration", remedy, lambda: check_registration(chain, hotkey, coldkey))
        if around.role == "validator":
            yield attempt("permit", remedy, lambda: check_permit(chain, hotkey))
    if around.role == "trainer" and rules is not None and hotkey is not None:
        coming = () if followed is None else (followed.history.latest, followed.pending)
        yield check_trainer(rules, [one for one in coming if one is not None], hotkey)
        if rules.gate.rule is not GateRule.NONE:
            yield check_gate(rules)
    tries = around.proposal_tries
    if chain is not None and rules is not None and tries:
        yield attempt(
            "proposals", first, lambda: check_proposals(tries, rules, count_miners(chain, rules))
        )


def _examine_services(around: PreflightInputs, now_ms: int) -> Iterator[PreflightCheck]:
    chain, rules, beacons, relays = around.chain, around.parameters, around.beacons, around.relays
    store, hotkey = around.store, around.hotkey
    remedy = "name sources of the beacon chain that the parameters pin, with --beacon"
    if relays is not None:
        yield attempt("relays", remedy, lambda: check_relays(relays()))
    if beacons is not None and chain is not None and rules is not None:
        yield attempt("beacon", remedy, lambda: check_beacon(chain, beacons, rules))
    if store is not None and hotkey is not None:
        public_store = around.shown or store
        remedy = "do what the message says, or name another store with --store"
        yield attempt(
            "store", remedy, lambda: check_store(store, public_store, hotkey, now_ms, around.public)
        )


def _examine_program(folder: Path, now_ms: int) -> Iterator[PreflightCheck]:
    """Check the running program; no result if none has run yet."""
    if (folder / STATUS_FILE).exists():
        remedy = "start the program: it writes the file again"
        yield attempt("program", remedy, lambda: check_program(folder, now_ms))


def _examine_machine(
    around: PreflightInputs, checkpoint: Checkpoint | None
) -> Iterator[PreflightCheck]:
    size = 0
    if checkpoint is not None:
        size = sum(file.stat().st_size for file in checkpoint.folder.iterdir())
    remedy = "name a folder that can be read, with --dir"
    yield attempt("disk", remedy, lambda: check_disk(around.folder, size))
    yield from examine_placement(around, checkpoint)
    yield from _examine_reference(around, checkpoint)


def examine_placement(
    around: PreflightInputs, checkpoint: Checkpoint | None
) -> Iterator[PreflightCheck]:
    """Check the device that models run on, and its memory for the checkpoint in force."""
    rules, placement = around.parameters, around.placement
    if placement is None:
        return
    facts = examine_device(placement.device)
    fits = None if facts.free is None else count_parameters(placement, facts.free)
    yield check_device(facts, placement.implementation, fits)
    if checkpoint is None or rules is None:
        return
    shape, work = checkpoint.shape, rules.work
    needed = estimate_memory(
        around.role, shape, work, around.groups_per_step, around.learning, placement
    )
    rollouts = None if facts.free is None else count_rollouts(shape, work, placement, facts.free)
    yield check_memory(needed, facts.free, rollouts)
    units = count_named_units(write_choice(rules.environment)).total()
    if units:
        cores = count_cores()
        yield check_sandbox_memory(estimate_sandbox(units, cores), cores, examine_device(CPU).free)


def _examine_reference(
    around: PreflightInputs, checkpoint: Checkpoint | None
) -> Iterator[PreflightCheck]:
    """Check whether the device computes the same as others, and for a validator how fast."""
    chain, rules = around.chain, around.parameters
    if checkpoint is None or rules is None:
        return
    remedy = "fix the other problems, then check again"
    placement = checkpoint.models.placement
    if (placement.device, placement.implementation) != (CPU, DEFAULT_IMPLEMENTATION):
        yield attempt(
            "agreement", remedy, lambda: check_agreement(measure_agreement(checkpoint, rules))
        )
    if around.role == "validator" and chain is not None:
        yield attempt("speed", remedy, lambda: _examine_speed(around, checkpoint, rules, chain))


def _examine_speed(
    around: PreflightInputs, checkpoint: Checkpoint, rules: Parameters, chain: SubnetReader
) -> PreflightCheck:
    """Check whether judging keeps up: this process, or workers that are started for it."""
    if around.open_pool is None:
        speed = measure_audit_speed(checkpoint, rules)
        return check_audit_speed(speed, count_miners(chain, rules), rules)
    if is_running(around.folder, around.role):
        sentence = "not measured: the running validator has the workers; its status.json lists them"
        return PreflightCheck("speed", CheckState.OK, sentence)
    with ExitStack() as stack:
        pool = stack.enter_context(around.open_pool())
        pooled = pool.load(checkpoint.folder, checkpoint.digest)
        speed = measure_audit_speed(pooled, rules, pool.count)
        workers, trouble = pool.describe(), pool.trouble
    check = check_audit_speed(speed, count_miners(chain, rules), rules, workers)
    if trouble is not None and check.state is CheckState.OK:
        return replace(check, state=CheckState.WARN, remedy=trouble.text)
    return check
