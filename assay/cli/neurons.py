"""`assay mine`, `assay validate`, `assay train`: the neurons as programs on a chain."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assay.artifacts.submissions.judging_threads import JudgingThreads
from assay.artifacts.submissions.mirror_writer import open_read_ahead
from assay.cli.checks_view import render_dry_run
from assay.cli.console import print_result
from assay.network import ObjectStore
from assay.network.files import is_locked
from assay.network.store import open_folder
from assay.neurons.miner.dry_run import dry_run as look_at_mining
from assay.neurons.miner.engines import AUTO, EngineCommand, open_engines, require_engines
from assay.neurons.miner.history import MiningHistory, describe_history
from assay.neurons.miner.miner import Miner, MinerConfig, MinerDependencies
from assay.neurons.miner.review import MinerReview, MinerWithReview, list_reasons
from assay.neurons.miner.work_database import WorkDatabase
from assay.neurons.ports import Neuron
from assay.neurons.preflight.examination import PreflightInputs, warn_briefly
from assay.neurons.program.counters import LoopHooks, VerdictCounter, meter
from assay.neurons.program.database import VALIDATOR_FILE, Database
from assay.neurons.program.logs import log_lines, make_report, wants_json
from assay.neurons.program.loop import ProgramLoop, catch_signals
from assay.neurons.program.metrics_server import serve_metrics
from assay.neurons.program.status import SHOWN, describe_program
from assay.neurons.session.neuron import NetworkMonitor, NeuronSession, join_network
from assay.neurons.session.resources import now_ms, open_own_store
from assay.neurons.settings.loading import ConfigError, list_others_variables, make_cards_repeat
from assay.neurons.settings.placing import open_placement
from assay.neurons.settings.sections import (
    MinerSettings,
    Settings,
    TrainerSettings,
    ValidatorSettings,
)
from assay.neurons.trainer.background_judge import BackgroundJudge
from assay.neurons.trainer.lessons import Lesson
from assay.neurons.trainer.monitor import LearningMonitor, TrainerWithMonitor
from assay.neurons.trainer.setup import make_trainer_config
from assay.neurons.trainer.trainer import Trainer, get_time
from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.neurons.validator.make_records import Author
from assay.neurons.validator.post_outbox import describe_post, list_posts, open_posting
from assay.neurons.validator.record_book import RecordBook, get_software
from assay.neurons.validator.run_archive import Archive
from assay.neurons.validator.status import describe_validator, list_verdicts, name_verdicts
from assay.neurons.validator.validator import Validator
from assay.protocol import encode_ss58
from assay.protocol.record import compute_record_bytes_max
from assay.rounds.calendar import list_trainers
from assay.training.held_out import HeldOut
from assay.training.pace import PaceFigures
from assay.training.team import follow, is_member, join_team, run_team

logger = logging.getLogger("assay")


@contextmanager
def _open_program(
    settings: Settings,
    own: MinerSettings | ValidatorSettings | TrainerSettings,
    kind: str,
    as_json: bool,
    quiet: bool,
) -> Iterator[tuple[NeuronSession, LoopHooks]]:
    """Open a program's log, metrics and session, for as long as it runs."""
    placement = open_placement(settings.compute)
    with (
        log_lines(wants_json(settings, as_json), quiet),
        serve_metrics(settings.metrics.listen, kind, settings.metrics.hosts) as note,
        join_network(settings, own.dir, kind, placement) as session,
    ):
        _ = session.account.wallet.hotkey  # asks for its password now, and not in a window
        yield session, LoopHooks(note=note)


def run_miner(
    settings: Settings,
    as_json: bool,
    quiet: bool,
    dry_run: bool = False,
    kind: Callable[..., Miner] = Miner,
) -> int:
    """Mine until asked to stop.

    Args:
        dry_run: check everything that mining needs, and send nothing.
        kind: the miner's class; tests pass miners that cheat.
    """
    if dry_run:
        return _run_dry(settings, as_json)
    own = settings.miner
    command = _make_engine_command(own)
    store, locator = open_own_store(settings)
    with _open_program(settings, own, "miner", as_json, quiet) as (session, watch):
        store = meter(store, watch.tally)
        hotkey, sources = session.account.hotkey, session.sources
        with (
            WorkDatabase(own.dir / "work") as workbook,
            MiningHistory(
                own.dir / "history.sqlite", session.chain.genesis_hash, session.chain.netuid, hotkey
            ) as history,
            open_engines(own.engines, command, exact=own.exact) as engines,
        ):
            reached = (session.chain, sources.beacons, sources.checkpoints, store, locator)
            miner = kind(
                "miner",
                hotkey,
                session.history,
                MinerDependencies(*reached, workbook, history, engines),
                make_miner_config(own),
                make_report("miner_note"),
            )
            review = MinerReview(
                hotkey, session.history, sources, history, make_report("window_judged")
            )
            miner.uploads.beat = lambda: watch.beat()  # the loop's callback, which is set later
            verdicts = VerdictCounter(watch.tally, list_reasons(describe_history(history, SHOWN)))

            def describe() -> dict[str, Any]:
                progress, rows = miner.progress, describe_history(history, SHOWN)
                done = None if progress is None else {"window": progress[0], "groups": progress[1]}
                verdicts.note(list_reasons(rows))
                up = miner.uploads.newest
                return {
                    "at_work": done,
                    "drafting": miner.drafting,
                    "engines": [] if engines is None else engines.describe(),
                    "upload": up and asdict(up),
                    "windows": rows,
                }

            warn_briefly(_look_around(session, "miner", store, locator), now_ms())
            neuron = MinerWithReview(miner, review, watch.tally)
            return _drive(session, neuron, describe, NetworkMonitor(session), as_json, watch)


def make_miner_config(own: MinerSettings) -> MinerConfig:
    """The configuration of a miner."""
    return MinerConfig(own.groups, own.groups_per_step, commit_margin=own.commit_margin)


def _make_engine_command(own: MinerSettings) -> EngineCommand:
    """The command with which `auto` starts servers, checked before anything else is opened.

    Raises:
        EngineError: see `open_engines`. ConfigError: a setting of `auto` without it.
    """
    if (own.engine_python or own.engine_flags) and AUTO not in own.engines:
        raise ConfigError(
            "engine_python and engine_flags are for servers that this program starts: name them "
            "with --engine auto, or leave both out"
        )
    python = own.engine_python or Path(sys.executable)
    command = EngineCommand(python, own.engine_flags, own.dir, list_others_variables())
    require_engines(own.engines, command)
    return command


def _run_dry(settings: Settings, as_json: bool) -> int:
    """Run the checks. Return 1 if a problem prevents mining."""
    own = settings.miner
    command = _make_engine_command(own)
    store, locator = open_own_store(settings)
    placement = open_placement(settings.compute)
    # a server that drafts for a running miner must not be disturbed
    are_busy = bool(own.engines) and is_locked(own.dir / ".assay-miner") is True
    names = () if are_busy else own.engines
    with (
        log_lines(as_json, quiet=True),
        join_network(settings, own.dir, "miner", placement, looking=True) as session,
        open_engines(names, command, exact=own.exact) as engines,
    ):
        sources, account = session.sources, session.account
        reached = (session.chain, sources.beacons, sources.checkpoints, store, locator)
        outside = MinerDependencies(*reached, engines=engines)
        found = look_at_mining(
            outside,
            account.hotkey,
            account.coldkey,
            session.parameters,
            make_miner_config(own),
            now_ms(),
            followed=session.followed,
            shown=session.stores.get(locator),
            public=lambda: session.stores.get_as_stranger(locator),
            are_engines_busy=are_busy,
        )
    print_result(found.to_json(), as_json, render_dry_run(found))
    return 0 if found.ready else 1


def run_validator(settings: Settings, as_json: bool, quiet: bool) -> int:
    """Validate until asked to stop."""
    own = settings.validator
    with ExitStack() as stack:
        program = _open_program(settings, own, "validator", as_json, quiet)
        session, watch = stack.enter_context(program)
        tally, pool = watch.tally, session.pool
        database = stack.enter_context(closing(Database(own.dir / VALIDATOR_FILE)))
        archive = Archive(own.dir)
        store, locator = _open_record_store(settings)
        store = meter(store, tally)
        author = Author(get_software(), session.history, session.account.hotkey)
        tempo = session.parameters.timing.tempo
        posting = stack.enter_context(open_posting(settings, database, session.account.hotkey))
        public = None if locator is None else store
        ahead = stack.enter_context(
            open_read_ahead(session.sources, public, own.mirrored, own.fetches)
        )

        def note_window(judged: JudgedWindow) -> None:
            archive.write_window(judged)
            done = "complete" if judged.complete else "incomplete"
            tally.add("windows", label=done if judged.void is None else "void")
            logger.info("%s", name_verdicts(judged), extra={"event": "window_final"})

        def note_settlement(settlement: Settlement) -> None:
            archive.write_settlement(settlement)
            tally.add("settlements")
            paid = sum(1 for score in settlement.scores.values() if score)
            logger.info(
                "epoch %d settles windows %s: %s",
                settlement.epoch,
                ", ".join(map(str, settlement.windows)),
                f"weights for {paid} of {len(settlement.scores)} hotkeys"
                if paid
                else "nobody earned, all weight goes to the owner's uid",
                extra={"event": "epoch_settled"},
            )

        on_published = None if posting is None else posting.put_record
        book = RecordBook(database, session.chain, author, tempo, store, locator, on_published)
        book.recover(max(map(compute_record_bytes_max, session.history.all)))
        validator = Validator(
            session.account.hotkey,
            session.history,
            session.sources,
            database,
            archive.write_context,
            note_window,
            note_settlement,
            start=session.chain.get_head(),
            book=book,
            ahead=ahead,
            threads=None if pool is None else JudgingThreads(pool.count + 1, lambda: pool.waited_s),
            pool=pool,
        )
        network = NetworkMonitor(session, needs_permit=True)
        verdicts = VerdictCounter(tally, list_verdicts(validator))

        def describe() -> dict[str, Any]:
            for window, hotkey in verdicts.note(list_verdicts(validator)):
                judged = validator.judged_windows[window]
                tally.add("judged_tokens", judged.verdicts[hotkey].tokens)
                tally.add("judging_seconds", judged.seconds.get(hotkey, 0.0))
            timing, head = session.parameters.timing, network.seen.head
            number = 0 if head is None else head.number
            return describe_validator(validator, timing, number, database, book) | {
                "posts": [describe_post(r) for r in list_posts(database, SHOWN)],
                "posting_trouble": None if posting is None else posting.trouble,
            }

        warn_briefly(_look_around(session, "validator", public, locator or ""), now_ms())
        return _drive(session, validator, describe, network, as_json, watch)


def _open_record_store(settings: Settings) -> tuple[ObjectStore, str | None]:
    """The store for a validator's record, and its locator if others can open it. Without its own
    store, the record goes into its folder, for the operator to serve."""
    if settings.store.locator is None:
        return open_folder(settings.validator.dir / "record"), None
    return open_own_store(settings)


def run_trainer(settings: Settings, as_json: bool, quiet: bool) -> int:
    """Train until asked to stop, alone or in a team of processes."""
    make_cards_repeat()
    own = settings.trainer
    if (own.processes > 1 or own.offload) and not is_member():
        return run_team(own.processes, ["-m", "assay", *sys.argv[1:]])
    with join_team() as rank:
        if rank == 0:
            return _run_first_trainer(settings, as_json, quiet)
        open_placement(settings.compute)
        follow()
        return 0


def _run_first_trainer(settings: Settings, as_json: bool, quiet: bool) -> int:
    own = settings.trainer
    store, locator = open_own_store(settings)
    with _open_program(settings, own, "trainer", as_json, quiet) as (session, watch):
        store = meter(store, watch.tally)
        trainer_hotkey = session.account.hotkey
        trainers = list_trainers(session.history, session.followed.pending)
        if trainer_hotkey not in trainers:
            named = ", ".join(map(encode_ss58, trainers))
            raise ConfigError(
                f"this network's trainer is {named}, and the wallet's hotkey is "
                f"{encode_ss58(trainer_hotkey)}: name the right wallet"
            )
        steps: list[dict[str, Any]] = []
        held_out = HeldOut(session.history, own.problems)
        report = make_report("held_out_tried")
        monitor = LearningMonitor(own.dir, session.sources.checkpoints, held_out, report)

        def note_lesson(lesson: Lesson) -> None:
            reward = sum(lesson.rewards) / max(1, len(lesson.rewards)) / 1e6
            logger.info(
                "window %d: %d groups, mean reward %.3f, %d without signal (%d of %d tokens drawn "
                "and judged for nothing), checkpoint %d (%s…); %s",
                lesson.window,
                len(lesson.rewards),
                reward,
                lesson.stats.dropped,
                lesson.silent_tokens,
                lesson.tokens,
                lesson.published.number,
                lesson.published.digest.hex()[:16],
                get_pace(),
                extra={"event": "step_learned"},
            )
            steps.append(
                {
                    "window": lesson.window,
                    "groups": len(lesson.rewards),
                    "reward": round(reward, 4),
                    "tokens": lesson.tokens,
                    "silent_tokens": lesson.silent_tokens,
                    "checkpoint": lesson.published.number,
                    "digest": lesson.published.digest.hex(),
                    "stats": asdict(lesson.stats),
                }
            )
            del steps[:-SHOWN]
            watch.tally.add("trainer_steps")
            watch.tally.add("groups", len(lesson.rewards))
            watch.tally.add("silent_groups", lesson.stats.dropped)
            watch.tally.add("step_tokens", lesson.tokens)
            watch.tally.add("silent_tokens", lesson.silent_tokens)
            monitor.note(lesson)

        def get_pace() -> PaceFigures | None:
            timing = session.parameters.timing
            return trainer.pace.describe(timing.window_blocks * timing.slot_ms / 1_000)

        config = make_trainer_config(own, locator, store, held_out)
        pool = session.pool
        trainer = Trainer(
            trainer_hotkey,
            session.history,
            session.sources,
            config,
            note_lesson,
            make_report("trainer_note"),
            None
            if pool is None
            else BackgroundJudge(pool, session.judged_checkpoints, session.sources, get_time),
        )
        warn_briefly(_look_around(session, "trainer", store, locator), now_ms())
        try:
            return _drive(
                session,
                TrainerWithMonitor(trainer, monitor),
                lambda: {
                    "window": trainer.window,
                    "steps": steps,
                    "alarm": monitor.alarm,
                    "held_out": [asdict(point) for point in monitor.points[-SHOWN:]],
                    "pace": None if (pace := get_pace()) is None else asdict(pace),
                    "workers": [] if pool is None else pool.describe(),
                },
                NetworkMonitor(session),
                as_json,
                watch,
            )
        finally:
            trainer.close()


def _look_around(
    session: NeuronSession, role: str, store: ObjectStore | None = None, locator: str = ""
) -> PreflightInputs:
    """The inputs of a starting program's first checks."""
    return PreflightInputs(
        role=role,
        folder=session.folder,
        groups_per_step=0,
        hotkey=session.account.hotkey,
        chain=session.chain,
        parameters=session.parameters,
        followed=session.followed,
        relays=session.beacons.check,
        store=store,
        shown=None if store is None else session.sources.stores.get(locator),
    )


def _drive(
    session: NeuronSession,
    neuron: Neuron,
    describe: Callable[[], dict[str, Any]],
    network: NetworkMonitor,
    as_json: bool,
    watch: LoopHooks,
) -> int:
    """Run the loop. Return the exit code of a program that was asked to stop."""
    program = neuron.name, get_software(), session.account.hotkey
    around = session.sources.checkpoints, session.beacons, network.seen
    begun = session.parameters

    def describe_all() -> dict[str, Any]:
        head = network.seen.head
        parameters = begun if head is None else session.history.get_at(head.number)
        return describe_program(*program, parameters, *around) | describe()

    network.require_seat()
    with catch_signals(session.chain.stop_retrying) as stop:
        ProgramLoop(neuron, session.folder, stop, describe_all, network.check, watch).run()
    logger.info("stopped on request; the same command continues", extra={"event": "stopped"})
    if as_json:
        print((session.folder / "status.json").read_text())
    return 0
