"""The validator as a program: put together from settings, and run until it is asked to stop."""

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing

from assay.artifacts.database import VALIDATOR_FILE, Database
from assay.artifacts.status.program import LoopStatus, NetworkStatus
from assay.artifacts.status.validator import GateStatus, ValidatorStatus
from assay.artifacts.submissions.judging_threads import JudgingThreads
from assay.artifacts.submissions.mirror_writer import open_read_ahead
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.neurons.preflight.starting import warn_at_start
from assay.neurons.program.counters import Counters, VerdictCounter, meter
from assay.neurons.program.neuron import NetworkMonitor
from assay.neurons.program.running import open_program, run_program
from assay.neurons.program.software import get_software
from assay.neurons.program.status import SHOWN
from assay.neurons.validator.gate_watch import GateWatch
from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.neurons.validator.make_records import Author
from assay.neurons.validator.post_outbox import describe_post, list_posts, open_posting
from assay.neurons.validator.record_book import RecordBook
from assay.neurons.validator.run_archive import Archive
from assay.neurons.validator.status import describe_validator, list_verdicts, name_verdicts
from assay.neurons.validator.submission_queue import JudgingJob
from assay.neurons.validator.validator import Validator
from assay.protocol.record import compute_record_bytes_max
from assay.session.resources import open_own_store
from assay.settings.sections import Settings

logger = logging.getLogger("assay")


def run_validator(
    settings: Settings,
    as_json: bool = False,
    quiet: bool = False,
    *,
    stop: threading.Event | None = None,
) -> None:
    """Validate until asked to stop.

    Args:
        as_json, quiet: see `open_program`.
        stop: see `run_program`.
    """
    section = settings.validator
    with ExitStack() as stack:
        program = open_program(settings, section, "validator", as_json, quiet)
        session, watch = stack.enter_context(program)
        tally, pool = watch.tally, session.pool
        database = stack.enter_context(closing(Database(section.dir / VALIDATOR_FILE)))
        archive = Archive(section.dir)
        store, locator = _open_record_store(settings)
        store = meter(store, tally)
        author = Author(get_software(), session.history, session.account.hotkey)
        tempo = session.parameters.timing.tempo
        posting = stack.enter_context(open_posting(settings, database, session.account.hotkey))
        public = None if locator is None else store
        ahead = stack.enter_context(
            open_read_ahead(session.sources, public, section.mirrored, section.fetches)
        )
        on_published = None if posting is None else posting.put_record
        book = RecordBook(database, session.chain, author, tempo, store, locator, on_published)
        book.recover(max(map(compute_record_bytes_max, session.history.all)))
        # without workers, too, a file that takes long must not keep others from being asked for
        threads = (
            JudgingThreads[JudgingJob](1)
            if pool is None
            else JudgingThreads[JudgingJob](pool.count + 1, lambda: pool.waited_s)
        )
        stack.callback(threads.close)

        def note_window(judged: JudgedWindow) -> None:
            archive.write_window(judged)
            _report_window(judged, tally)

        def note_settlement(settlement: Settlement) -> None:
            archive.write_settlement(settlement)
            _report_settlement(settlement, tally)

        def note_gate(status: GateStatus) -> None:
            tally.add("gate_answers", status["checked"])
            tally.add("gate_faults", len(status["faults"]))

        account, history = session.account.hotkey, session.history
        mirrors = session.checkpoint_mirrors
        gate = GateWatch(account, history, session.sources, mirrors, note_gate)
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
            threads=threads,
            pool=pool,
            gate=gate,
        )
        network = NetworkMonitor(session, needs_permit=True)
        verdicts = VerdictCounter(tally, list_verdicts(validator))

        def describe(seen: NetworkStatus, loop: Callable[[], LoopStatus]) -> ValidatorStatus:
            _count_judging(validator, verdicts, tally)
            timing, head = session.parameters.timing, network.seen.head
            number = 0 if head is None else head.number
            trouble = None if posting is None else posting.trouble
            return {
                **seen,
                **describe_validator(validator, timing, number, database, book),
                "posts": [describe_post(r) for r in list_posts(database, SHOWN)],
                "posting_trouble": None if trouble is None else trouble.text,
                **loop(),
            }

        warn_at_start(session, "validator", public, locator or "")
        run_program(session, validator, describe, network, as_json, watch, stop)


def _open_record_store(settings: Settings) -> tuple[ObjectStore, str | None]:
    """The store for a validator's record, and its locator if others can open it. Without its own
    store, the record goes into its folder, for the operator to serve."""
    if settings.store.locator is None:
        return open_folder(settings.validator.dir / "record"), None
    return open_own_store(settings)


def _report_window(judged: JudgedWindow, tally: Counters) -> None:
    done = "complete" if judged.complete else "incomplete"
    tally.add("windows", label=done if judged.void is None else "void")
    logger.info("%s", name_verdicts(judged), extra={"event": "window_final"})


def _report_settlement(settlement: Settlement, tally: Counters) -> None:
    tally.add("settlements")
    paid = sum(1 for score in settlement.scores.values() if score)
    if settlement.weights:
        nobody = "nobody earned, all weight goes to the owner's uid"
    else:
        nobody = f"nobody earned, {settlement.idle} in a row: no weights, the chain keeps the last"
    logger.info(
        "epoch %d settles windows %s: %s",
        settlement.epoch,
        ", ".join(map(str, settlement.windows)),
        f"weights for {paid} of {len(settlement.scores)} hotkeys" if paid else nobody,
        extra={"event": "epoch_settled"},
    )


def _count_judging(validator: Validator, verdicts: VerdictCounter, tally: Counters) -> None:
    """Count what went through the model for each verdict, and its seconds, once."""
    for window, hotkey in verdicts.note(list_verdicts(validator)):
        judged = validator.judged_windows[window]
        record = judged.verdicts[hotkey].to_record()
        tally.add("judged_tokens", record.tokens)
        tally.add("judged_rollouts", record.rollouts)
        tally.add("judged_turns", record.turns)
        tally.add("judged_replies", record.replies)
        tally.add("judged_broken", record.broken)
        tally.add("judging_seconds", judged.seconds.get(hotkey, 0.0))
