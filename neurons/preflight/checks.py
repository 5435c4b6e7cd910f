"""Checks of a neuron's needs from outside, one by one: each is fine, or comes with advice.

Nothing here sends anything to the chain. Within `attempt`, a check reports an error that an
operator can fix instead of raising it.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from assay.artifacts.announced_parameters import list_announced
from assay.artifacts.checkpoints.folder import CHECKPOINTS_KEPT, CheckpointFolder, open_checkpoint
from assay.artifacts.ports import BeaconSource
from assay.artifacts.records.run_folder import RunFolder
from assay.artifacts.status.program import STOPPED, ProgramStatus
from assay.artifacts.status.validator import ValidatorStatus
from assay.artifacts.steps.file import DELAY_MAX
from assay.environments.evaluation import name_draw
from assay.environments.pieces import abduce, deduce
from assay.environments.registry import get_pool_cap
from assay.inference.checkpoint import Checkpoint
from assay.inference.placing.devices import DeviceFacts
from assay.network.chain.ports import SubnetReader
from assay.network.chain.values import format_tao
from assay.network.files import is_locked
from assay.network.store.base import ObjectStore, StoreError
from assay.neurons.preflight.check_results import CheckState, PreflightCheck
from assay.neurons.program.life import Life, Sign, describe_life
from assay.neurons.program.loop import STATUS_FILE
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import Parameters, Timing
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import compute_window
from assay.rounds.in_force import get_checkpoint_digest
from assay.session.window_reader import get_beacon
from assay.training.gate_answers import find_gate_fault, open_gate_environment

#: Slots that the newest final block may be old. Finality lags by about three.
_LAG_SLOTS = 10
#: Bytes of a program's own files besides checkpoints, with a margin.
_DISK_BYTES = 1 << 30
#: Name under a hotkey's folder in its store that checks overwrite again and again.
PROBE = "probe"


class FollowedParameters(Protocol):
    """The parameters that hold, and the announced ones, see `ParameterFollower`."""

    history: ParameterHistory
    pending: Parameters | None
    note: str | None


def check_chain(chain: SubnetReader, parameters: Parameters | None) -> PreflightCheck:
    """Check the chain's head, and whether it is the parameters' chain, if these are known."""
    head, genesis = chain.get_head(), chain.genesis_hash
    detail = f"head {head}, genesis {genesis.hex()[:16]}…, {chain.runtime}"
    if parameters is not None and genesis != parameters.identity.genesis_hash:
        wanted = parameters.identity.genesis_hash.hex()
        return PreflightCheck(
            "chain",
            CheckState.FAIL,
            f"{detail}: the parameters are for the chain with genesis hash {wanted[:16]}…",
            "name a node of that chain, or use the parameters of this one",
        )
    return PreflightCheck("chain", CheckState.OK, detail)


def check_amendment(chain: SubnetReader, followed: FollowedParameters) -> PreflightCheck:
    """Check the owner's announced parameters: when they hold, and whether this program can work by
    them."""
    announced = list_announced(followed.history, followed.pending, chain.get_head())
    detail = "; ".join(one.describe() for one in announced) or "no other parameters are announced"
    if followed.note is None:
        return PreflightCheck("amendment", CheckState.OK, detail)
    detail = f"{detail}; {followed.note}" if announced else followed.note
    if followed.history.end is not None:
        remedy = "install a version of Assay that can, or make the owner's store readable"
        return PreflightCheck("amendment", CheckState.FAIL, detail, remedy)
    remedy = "fix it before that window; if this machine is not at fault, tell the subnet's owner"
    return PreflightCheck("amendment", CheckState.WARN, detail, remedy)


def check_clock(
    chain: SubnetReader, timing: Timing, now_ms: int, *, is_right: bool = False
) -> PreflightCheck:
    """Compare the machine's clock with the newest final block's time. `is_right`: other sources
    have confirmed the clock, so the node is late or early."""
    name = "head" if is_right else "clock"
    age_ms = now_ms - chain.get_block(chain.get_head()).timestamp_ms
    when = f"{age_ms / 1_000:.1f} s old" if age_ms >= 0 else f"{-age_ms / 1_000:.1f} s ahead"
    detail = f"the newest final block is {when} by this machine's clock"
    if age_ms < -timing.slot_ms:
        remedy = "set the clock: it is slow; run an NTP client"
        if is_right:
            remedy = "name another node: the clock is right, and this one is ahead of the time"
        return PreflightCheck(name, CheckState.FAIL, detail, remedy)
    wait = "wait until the node has caught up with its chain, or name another"
    if age_ms > timing.window_blocks * timing.slot_ms:
        remedy = "see whether the node follows its chain; if it does, set the clock: it is fast"
        return PreflightCheck(name, CheckState.FAIL, detail, wait if is_right else remedy)
    if age_ms > _LAG_SLOTS * timing.slot_ms:
        remedy = "the node lags behind, or the clock is fast: compare both with another machine"
        return PreflightCheck(name, CheckState.WARN, detail, wait if is_right else remedy)
    return PreflightCheck(name, CheckState.OK, detail)


def check_registration(chain: SubnetReader, hotkey: bytes, coldkey: bytes) -> PreflightCheck:
    """Check the hotkey's uid, or the cost of one and the coldkey's balance."""
    head = chain.get_head()
    member = chain.get_members(head).get(hotkey)
    if member is not None:
        detail = f"uid {member.uid} since block {member.registered_at}"
        return PreflightCheck("registration", CheckState.OK, detail)
    quote, balance = chain.quote_registration(hotkey), chain.get_balance(coldkey)
    detail = (
        f"{encode_ss58(hotkey)} has no uid; one costs {format_tao(quote.cost)} and a fee of "
        f"{format_tao(quote.fee)} now, and the coldkey has {format_tao(balance)}"
    )
    if balance < quote.total:
        remedy = f"send {format_tao(quote.total - balance)} or more to {encode_ss58(coldkey)}"
        return PreflightCheck(
            "registration", CheckState.FAIL, detail, f"{remedy}, then `assay register`"
        )
    return PreflightCheck(
        "registration", CheckState.WARN, detail, "`assay register`; the price moves"
    )


def check_permit(chain: SubnetReader, hotkey: bytes) -> PreflightCheck:
    """Check whether the chain counts the hotkey's weights."""
    rows = chain.get_metagraph(chain.get_head())
    row = next((row for row in rows if row.hotkey == hotkey), None)
    if row is None:
        remedy = "register it first, then `assay stake`"
        return PreflightCheck("permit", CheckState.FAIL, "without a uid there is no permit", remedy)
    detail = f"{format_tao(row.stake, 'alpha')} of stake"
    if not row.permit:
        remedy = "`assay stake`, then wait for an epoch: without a permit its weights do not count"
        return PreflightCheck("permit", CheckState.FAIL, f"no validator permit, {detail}", remedy)
    return PreflightCheck("permit", CheckState.OK, f"a validator permit, {detail}")


def check_trainer(
    parameters: Parameters, coming: Sequence[Parameters], hotkey: bytes
) -> PreflightCheck:
    """Whether the hotkey is one whose checkpoints count. coming: parameters that are decided or
    announced."""
    name, trainer = encode_ss58(hotkey), encode_ss58(parameters.identity.trainer)
    for known in (parameters, *coming):
        if known.rounds is not None and hotkey in known.rounds.trainers:
            detail = f"{name} is one of {len(known.rounds.trainers)} trainers in rounds"
            if known is not parameters:
                detail += f" from window {known.start.window} on"
            return PreflightCheck("trainer", CheckState.OK, detail)
    if hotkey != parameters.identity.trainer:
        detail = f"this network's trainer is {trainer}, not {name}"
        return PreflightCheck(
            "trainer", CheckState.FAIL, detail, "name the trainer's wallet and hotkey"
        )
    return PreflightCheck("trainer", CheckState.OK, f"{trainer} is this network's trainer")


def check_proposals(tries: int, parameters: Parameters, miners: int) -> PreflightCheck:
    """Check whether a trainer's `proposal_tries`, above 0, can do anything.

    Args:
        miners: that have committed to the newest window.
    """
    parts = {setting.name for setting in parameters.environment.settings}
    # the proposer's own rollouts are no tries, nor are those of the step that has its proposal
    work, others = parameters.work, max(0, miners - 1)
    most = (DELAY_MAX - 1) * others * work.group_cap * work.group_size
    detail, remedy = f"proposal_tries = {tries:,}", "set it to 0"
    if get_pool_cap(parameters.environment) is None:
        detail += " does nothing: the network has no part `propose`"
    elif not parts & {deduce.NAME, abduce.NAME}:
        detail += " keeps proposals from being learned from: nobody is asked them by `deduce` or "
        detail += "`abduce`"
    elif miners and tries > most:
        detail += (
            f" is out of reach: as many miners as now, {miners:,}, make {most:,} tries in time"
        )
        remedy = "lower it, if no more miners come"
    else:
        return PreflightCheck("proposals", CheckState.OK, detail)
    return PreflightCheck("proposals", CheckState.WARN, detail, remedy)


def check_gate(parameters: Parameters) -> PreflightCheck:
    """Check whether this machine can ask and answer the problems of the network's gate."""
    gate, remedy = parameters.gate, "tell the subnet's owner; `assay subnet amend` changes it"
    try:
        # levels move with each checkpoint: publish has looked at the first one's
        fault = find_gate_fault(parameters, open_gate_environment(parameters).levels)
    except ValueError as error:
        fault, remedy = f"gate: {error}", "name the file with --file, or install what is missing"
    if fault is not None:
        return PreflightCheck("gate", CheckState.FAIL, fault, remedy)
    detail = f"{gate.rule}, {gate.problems:,} problems of each checkpoint"
    draw = name_draw(*gate.environment or (parameters.environment,))
    return PreflightCheck("gate", CheckState.OK, f"{detail}, which are {draw}")


def check_relays(faults: Mapping[str, str]) -> PreflightCheck:
    """Check the beacon's relays against the pinned chain. `faults`: address → its fault, or ""."""
    bad = [f"{url} {fault}" for url, fault in faults.items() if fault]
    detail = "; ".join(
        [*bad, *(f"{url} serves its rounds" for url, fault in faults.items() if not fault)]
    )
    if not bad:
        return PreflightCheck("relays", CheckState.OK, detail)
    if len(bad) < len(faults):
        remedy = "the others work; fix this one before they fail, too"
        return PreflightCheck("relays", CheckState.WARN, detail, remedy)
    remedy = "make sure that this machine can reach them, or name others of the chain with --beacon"
    return PreflightCheck("relays", CheckState.FAIL, detail, remedy)


def check_disk(folder: Path, checkpoint: int) -> PreflightCheck:
    """Check the disk space for a program's files, where its folder is or would be. `checkpoint` is
    the size of one, bytes; 0: not known."""
    existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    needed = _DISK_BYTES + 2 * checkpoint
    wanted = needed + CHECKPOINTS_KEPT * checkpoint
    detail = f"{free / 2**30:,.1f} GiB free for {folder}"
    if free < needed:
        remedy = f"free some space: {needed / 2**30:,.1f} GiB are needed to begin"
        return PreflightCheck("disk", CheckState.FAIL, detail, remedy)
    if free < wanted:
        remedy = f"free some space: the kept checkpoints will take {wanted / 2**30:,.1f} GiB"
        return PreflightCheck("disk", CheckState.WARN, detail, remedy)
    return PreflightCheck("disk", CheckState.OK, detail)


def check_program(folder: Path, now_ms: int) -> PreflightCheck:
    """Check whether the program of a folder runs, by its lock and the age of its status.json, and
    its own trouble. `now_ms`: Unix time, milliseconds."""
    status: ProgramStatus = RunFolder(folder).status.read()
    try:
        state, age = str(status["state"]), max(0, now_ms // 1_000 - int(status["at"]))
        held = is_locked(folder / f".assay-{status['program']}")
    except (TypeError, ValueError, LookupError):
        detail = f"{folder / STATUS_FILE} is damaged"
        return PreflightCheck("program", CheckState.WARN, detail, "start the program again")
    life, words = describe_life(state, Sign(held, age))
    trouble = status.get("trouble")
    if life is not Life.RUNNING:
        remedy = "start it again: the same command continues"
        if state != STOPPED and held:
            remedy = (
                "wait; its log says what it does. If Ctrl-Z stopped it, type fg in its terminal"
            )
        detail = f"{words}; its last trouble: {trouble}" if trouble else words
        outcome = CheckState.FAIL if life is Life.ENDED else CheckState.WARN
        return PreflightCheck("program", outcome, detail, remedy)
    if trouble:
        return PreflightCheck("program", CheckState.WARN, str(trouble), "do what it says")
    windows = cast(ValidatorStatus, status).get("windows") or ()  # others' rows lack nothing
    lost = {row["window"]: row["missing"] for row in windows if row.get("missing")}
    if lost:
        names = ", ".join(map(str, lost))
        return PreflightCheck(
            "program",
            CheckState.WARN,
            f"it lacked something in the recent windows {names}: {lost[max(lost)]}",
            "if this continues, fix what it names",
        )
    return PreflightCheck("program", CheckState.OK, "running, and reports no trouble")


def check_device(facts: DeviceFacts, implementation: str, parameters: int | None) -> PreflightCheck:
    """Check where and how models run. `parameters`: of the largest that fits; None: not known."""
    detail = f"{implementation} on {facts.describe()}"
    if parameters is not None:
        detail += f", room for models of up to {parameters / 1e9:,.1f} B parameters"
    return PreflightCheck("device", CheckState.OK, detail)


def check_memory(needed: int, available: int | None, rollouts: int | None = None) -> PreflightCheck:
    """Check whether a program will have memory for its model, by a rough estimate.

    Args:
        needed: most bytes.
        available: bytes; None: unknown.
        rollouts: number that fits at once; None: not known.
    """
    detail = f"roughly {needed / 2**30:,.1f} GiB for this model and batch"
    if rollouts is not None:
        detail += f", {rollouts:,} rollouts of full length fit at once"
    if available is None:
        remedy = "check that this machine has as much"
        return PreflightCheck(
            "memory", CheckState.WARN, f"{detail}; the free memory is unknown here", remedy
        )
    detail += f", {available / 2**30:,.1f} GiB free"
    if available < needed:
        remedy = "stop other programs, use a larger machine, or mine fewer groups a step"
        return PreflightCheck("memory", CheckState.FAIL, detail, remedy)
    if available < 1.5 * needed:
        return PreflightCheck(
            "memory", CheckState.WARN, detail, "little is left: watch what else runs"
        )
    return PreflightCheck("memory", CheckState.OK, detail)


def check_sandbox_memory(needed: int, cores: int, free: int | None) -> PreflightCheck:
    """Check whether programs, packages and tools will have memory on every core.

    Args:
        needed, free: bytes of main memory; None: unknown.
    """
    name, gib = "sandbox memory", 2**30
    detail = f"up to {needed / gib:,.1f} GiB for what {cores} cores run at once"
    if free is None:
        return PreflightCheck(name, CheckState.OK, detail)
    detail += f", {free / gib:,.1f} GiB free"
    if free < needed:
        remedy = (
            "stop other programs, or give this one fewer cores (taskset): a child is ended "
            "where memory is short, and its file is judged later"
        )
        return PreflightCheck(name, CheckState.WARN, detail, remedy)
    return PreflightCheck(name, CheckState.OK, detail)


def check_store(
    store: ObjectStore,
    public_store: ObjectStore,
    hotkey: bytes,
    stamp: int,
    public: Callable[[], ObjectStore | None] = lambda: None,
) -> PreflightCheck:
    """Write a small object under the hotkey's own name and read it back, whole and in part, and
    request its size, as validators do.

    Args:
        public_store: the store as validators reach it.
        stamp: makes this object differ from the last check's.
        public: the store as strangers reach it that have named no store; None: they cannot.
    """
    name = f"{encode_ss58(hotkey)}/{PROBE}"
    data = f"assay probe {stamp}".encode()
    store.put(name, data)
    start, source = len(data) // 2, public_store.open(name)
    data_read = source.read(start, len(data))
    if data_read != data[start:] or public_store.get(name, len(data)) != data:
        what = "does not exist" if data_read is None else "has other bytes"
        return PreflightCheck(
            "store",
            CheckState.FAIL,
            f"{name} was written, but at the locator it {what}",
            "make the locator lead to the same store that is written, open to all readers and "
            "without a cache in between",
        )
    if source.size() != len(data):  # validators request it first
        return PreflightCheck(
            "store",
            CheckState.FAIL,
            f"{name} was written and read back, but the locator's server does not tell its size",
            "make the server answer HEAD as it answers GET",
        )
    detail = f"{name} was written and read back by range"
    try:
        place = public()
        if place is not None:
            place.open(name).read(start, len(data))
    except StoreError as error:
        remedy = "name a public https address, unless all readers list this one as readable"
        return PreflightCheck(
            "store", CheckState.WARN, f"{detail}, but not by strangers: {error}", remedy
        )
    return PreflightCheck("store", CheckState.OK, detail)


def check_beacon(
    chain: SubnetReader, beacons: BeaconSource, parameters: Parameters
) -> PreflightCheck:
    """Check the round that the newest window's first block names, fetched and verified; or that of
    the window before if it is not out yet."""
    length = parameters.timing.window_blocks
    first = chain.get_head() // length * length
    for number in (first, max(0, first - length)):
        beacon = get_beacon(beacons, parameters, chain.get_block(number))
        if beacon is not None:
            name = parameters.beacon.chain_hash.hex()[:16]
            detail = f"round {beacon.round} of chain {name}… for block {number} is genuine"
            return PreflightCheck("beacon", CheckState.OK, detail)
    return PreflightCheck(
        "beacon",
        CheckState.FAIL,
        f"no source has the round that block {number} names",
        "make sure that this machine can reach the sources, or name others of the same chain",
    )


def check_checkpoint(
    chain: SubnetReader, checkpoints: CheckpointFolder, parameters: Parameters
) -> tuple[PreflightCheck, Checkpoint]:
    """Check the checkpoint of the newest window by opening it: every tensor is hashed, the model
    loaded."""
    window = compute_window(parameters.timing, chain.get_head())
    digest = get_checkpoint_digest(chain, parameters, window)
    checkpoint = open_checkpoint(checkpoints, digest, parameters)
    number = checkpoint.manifest.number
    detail = f"number {number}, {digest.hex()[:16]}…, in force in window {window}, is here"
    return PreflightCheck("checkpoint", CheckState.OK, detail), checkpoint
