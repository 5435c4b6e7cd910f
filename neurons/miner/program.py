"""The miner as a program: put together from settings, and run until it is asked to stop."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import cast

from assay.artifacts.mining_history import MiningHistory, describe_history
from assay.artifacts.status.miner import MinerStatus, UploadStatus
from assay.artifacts.status.program import LoopStatus, NetworkStatus
from assay.network.files import is_locked
from assay.neurons.miner.dry_run import DryRun, dry_run
from assay.neurons.miner.engines import AUTO, EngineCommand, open_engines, require_engines
from assay.neurons.miner.miner import Miner, MinerConfig, MinerDependencies
from assay.neurons.miner.review import MinerReview, MinerWithReview, list_reasons
from assay.neurons.miner.work_database import WorkDatabase
from assay.neurons.preflight.starting import warn_at_start
from assay.neurons.program.counters import VerdictCounter, meter
from assay.neurons.program.logs import log_lines, make_report
from assay.neurons.program.neuron import NetworkMonitor, NeuronSession, join_network
from assay.neurons.program.running import open_program, run_program
from assay.neurons.program.status import SHOWN
from assay.protocol.ss58 import encode_ss58
from assay.rounds.calendar import list_trainers
from assay.sandbox.secret_variables import list_plain_variables
from assay.session.resources import now_ms, open_own_store
from assay.settings.loading import ConfigError
from assay.settings.placing import open_placement
from assay.settings.sections import MinerSettings, Settings


def run_miner(
    settings: Settings,
    as_json: bool = False,
    quiet: bool = False,
    *,
    kind: Callable[..., Miner] = Miner,
    stop: threading.Event | None = None,
) -> None:
    """Mine until asked to stop.

    Args:
        as_json, quiet: see `open_program`.
        kind: the miner's class; tests pass miners that cheat.
        stop: see `run_program`.
    """
    section = settings.miner
    command = _make_engine_command(section)
    store, locator = open_own_store(settings)
    with ExitStack() as stack:
        program = open_program(settings, section, "miner", as_json, quiet)
        session, watch = stack.enter_context(program)
        _require_slot(session)
        store = meter(store, watch.tally)
        chain, hotkey, sources = session.chain, session.account.hotkey, session.sources
        workbook = stack.enter_context(WorkDatabase(section.dir / "work"))
        history = stack.enter_context(
            MiningHistory(section.dir / "history.sqlite", chain.genesis_hash, chain.netuid, hotkey)
        )
        engines = stack.enter_context(open_engines(section.engines, command, exact=section.exact))
        reached = (chain, sources.beacons, sources.checkpoints, store, locator)
        miner = kind(
            "miner",
            hotkey,
            session.history,
            MinerDependencies(*reached, workbook, history, engines, time.monotonic),
            make_miner_config(section),
            make_report("miner_note"),
        )
        review = MinerReview(
            *(hotkey, session.history, sources, history),
            make_report("window_judged"),
            make_report("window_judged", logging.WARNING),
        )
        miner.uploads.beat = lambda: watch.beat()  # the loop's callback, which is set later
        verdicts = VerdictCounter(watch.tally, list_reasons(describe_history(history, SHOWN)))

        def describe(network: NetworkStatus, loop: Callable[[], LoopStatus]) -> MinerStatus:
            rows = describe_history(history, SHOWN)
            verdicts.note(list_reasons(rows))
            progress, upload = miner.progress, miner.uploads.newest
            return {
                **network,
                "at_work": None
                if progress is None
                else {"window": progress[0], "groups": progress[1]},
                "drafting": miner.drafting,
                "speed": miner.speed,
                "engines": [] if engines is None else engines.describe(),
                "upload": None if upload is None else cast(UploadStatus, asdict(upload)),
                "windows": rows,
                **loop(),
            }

        warn_at_start(session, "miner", store, locator)
        neuron = MinerWithReview(miner, review, watch.tally)
        run_program(session, neuron, describe, NetworkMonitor(session), as_json, watch, stop)


def _require_slot(session: NeuronSession) -> None:
    """Raise ConfigError if others read something else in the hotkey's slot on chain, which mining
    would overwrite."""
    hotkey, chain = session.account.hotkey, session.chain
    if hotkey == chain.get_owner(chain.get_head()):
        holder = "the subnet's owner, whose slot names the network's parameters"
    elif hotkey == session.parameters.identity.amender:
        holder = "the amender, whose slot names the network's amendments"
    elif hotkey in list_trainers(session.history, session.followed.pending):
        holder = "a trainer, whose slot names checkpoints"
    else:
        return
    raise ConfigError(
        f"the wallet's hotkey {encode_ss58(hotkey)} is {holder}, and mining would overwrite it: "
        "mine with another hotkey"
    )


def check_mining(settings: Settings, as_json: bool = False) -> DryRun:
    """Check everything that mining needs, and send nothing. `as_json`: see `open_program`."""
    miner = settings.miner
    command = _make_engine_command(miner)
    store, locator = open_own_store(settings)
    placement = open_placement(settings.compute)
    # a server that drafts for a running miner must not be disturbed
    are_busy = bool(miner.engines) and is_locked(miner.dir / ".assay-miner") is True
    names = () if are_busy else miner.engines
    with (
        log_lines(as_json, quiet=True),
        join_network(settings, miner.dir, "miner", placement, observing=True) as session,
        open_engines(names, command, exact=miner.exact) as engines,
    ):
        _require_slot(session)
        sources, account = session.sources, session.account
        reached = (session.chain, sources.beacons, sources.checkpoints, store, locator)
        return dry_run(
            MinerDependencies(*reached, engines=engines),
            account.hotkey,
            account.coldkey,
            session.parameters,
            make_miner_config(miner),
            now_ms(),
            followed=session.followed,
            public_store=session.stores.get(locator),
            public=lambda: session.stores.get_as_stranger(locator),
            are_engines_busy=are_busy,
        )


def make_miner_config(miner: MinerSettings) -> MinerConfig:
    """The configuration of a miner."""
    return MinerConfig(miner.groups, miner.groups_per_step, commit_margin=miner.commit_margin)


def _make_engine_command(miner: MinerSettings) -> EngineCommand:
    """The command with which `auto` starts servers, checked before anything else is opened.

    Raises:
        EngineError: see `open_engines`. ConfigError: a setting of `auto` without it.
    """
    if (miner.engine_python or miner.engine_flags) and AUTO not in miner.engines:
        raise ConfigError(
            "engine_python and engine_flags are for servers that this program starts: name them "
            "with --engine auto, or leave both out"
        )
    python = miner.engine_python or Path(sys.executable)
    command = EngineCommand(python, miner.engine_flags, miner.dir, list_plain_variables())
    require_engines(miner.engines, command)
    return command
