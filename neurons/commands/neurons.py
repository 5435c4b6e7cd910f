"""`assay mine`, `assay validate`, `assay train`: the neurons as programs on a chain."""

import json
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import Any

import torch

from assay.network import ObjectStore
from assay.network.store import open_folder
from assay.neurons.archive import Archive
from assay.neurons.commands.checks_view import render_dry_run
from assay.neurons.commands.console import open_console
from assay.neurons.config import ConfigError, MinerSettings, Settings
from assay.neurons.database import VALIDATOR_FILE, Database
from assay.neurons.doctor import Surroundings, warn_briefly
from assay.neurons.joining import Membership, Standing, join
from assay.neurons.learning.lessons import Lesson
from assay.neurons.learning.monitor import Monitor
from assay.neurons.learning.setup import make_trainer_config
from assay.neurons.learning.team import follow, join_team
from assay.neurons.learning.trainer import Trainer
from assay.neurons.ledger import open_posting
from assay.neurons.mining.dry_run import Candidate, dry_run
from assay.neurons.mining.history import History, describe_history
from assay.neurons.mining.miner import Miner, MinerConfig, Outside
from assay.neurons.mining.review import Review
from assay.neurons.mining.workbook import Workbook
from assay.neurons.ports import Neuron
from assay.neurons.programs import Loop, catch_signals, log_lines
from assay.neurons.validating.audits import Settlement, WindowAudit
from assay.neurons.validating.ledger_outbox import describe_ledger_row, list_ledger_rows
from assay.neurons.validating.mirror import read_ahead
from assay.neurons.validating.outbox import describe_row, list_rows
from assay.neurons.validating.record_book import RecordBook, get_software
from assay.neurons.validating.records import Author
from assay.neurons.validating.validator import Validator
from assay.neurons.wiring import now_ms, open_own_store
from assay.protocol import Parameters, Reason, encode_ss58
from assay.protocol.window import compute_window
from assay.verification import compute_score

logger = logging.getLogger("assay")

#: Rows of each kind in status.json.
_SHOWN = 16


class TrainerWithMonitor:
    """Trains, and looks at what it made in the time that training leaves."""

    name = "trainer"

    def __init__(self, trainer: Trainer, monitor: Monitor) -> None:
        self._trainer = trainer
        self._monitor = monitor

    @property
    def trouble(self) -> str | None:
        """The trainer's before what the monitor sees."""
        return self._trainer.trouble or self._monitor.alarm

    def step(self) -> bool:
        """See `Trainer.step` and `Monitor.step`."""
        return self._trainer.step() or self._monitor.step()


class MinerWithReview:
    """Mines, and looks at its own windows in the time that mining leaves."""

    name = "miner"

    def __init__(self, miner: Miner, review: Review) -> None:
        self._miner = miner
        self._review = review

    @property
    def trouble(self) -> str | None:
        """The miner's before the review's."""
        return self._miner.trouble or self._review.trouble

    def step(self) -> bool:
        """See `Miner.step` and `Review.step`."""
        return self._miner.step() or self._review.step()


def run_miner(
    settings: Settings, as_json: bool, quiet: bool, kind: Callable[..., Miner] = Miner
) -> int:
    """Mines until it is asked to stop.

    Args:
        kind: what mines; tests bring miners that cheat.

    Raises:
        OperatorError: it could not run, or cannot go on.
    """
    own = settings.miner
    store, locator = open_own_store(settings)
    _use_threads(own.threads)
    with log_lines(as_json, quiet), join(settings, own.dir, "miner") as member:
        hotkey, sources = member.account.hotkey, member.sources
        with (
            Workbook(own.dir / "work") as workbook,
            History(
                own.dir / "history.sqlite", member.chain.genesis_hash, member.chain.netuid, hotkey
            ) as history,
        ):
            miner = kind(
                "miner",
                hotkey,
                member.parameters,
                Outside(
                    member.chain, sources.beacons, sources.checkpoints, store, locator,
                    workbook, history,
                ),
                make_miner_config(own, member.parameters),
                logger.info,
            )  # fmt: skip
            review = Review(hotkey, member.parameters, sources, history, logger.info)
            neuron = MinerWithReview(miner, review)

            def describe() -> dict[str, Any]:
                progress = miner.progress
                done = None if progress is None else {"window": progress[0], "groups": progress[1]}
                return {"at_work": done, "windows": describe_history(history, _SHOWN)}

            warn_briefly(_look_around(member, "miner", store, locator), now_ms())
            return _drive(member, neuron, describe, Standing(member), as_json)


def make_miner_config(own: MinerSettings, parameters: Parameters) -> MinerConfig:
    """What a miner does, within what the network takes."""
    return MinerConfig(
        min(own.groups, parameters.work.group_cap),
        own.groups_per_step,
        commit_margin=min(own.commit_margin, parameters.timing.commit_offset // 2),
    )


def run_dry_run(settings: Settings, as_json: bool) -> int:
    """Looks at everything that mining needs and sends nothing. 1 if something stands in the way.

    Raises:
        OperatorError: it could not look.
    """
    own = settings.miner
    store, locator = open_own_store(settings)
    _use_threads(own.threads)
    with log_lines(as_json, quiet=True), join(settings, own.dir, "miner", looking=True) as member:
        sources, account = member.sources, member.account
        outside = Outside(member.chain, sources.beacons, sources.checkpoints, store, locator)
        config = make_miner_config(own, member.parameters)
        candidate = Candidate(account.hotkey, account.coldkey)
        found = dry_run(
            outside,
            candidate,
            member.parameters,
            config,
            now_ms(),
            shown=member.stores.get(locator),
            public=lambda: member.stores.get_as_stranger(locator),
        )
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        open_console().print(render_dry_run(found))
    return 0 if found.ready else 1


def run_validator(settings: Settings, as_json: bool, quiet: bool) -> int:
    """Validates until it is asked to stop.

    Raises:
        OperatorError: it could not run, or cannot go on.
    """
    own = settings.validator
    _use_threads(own.threads)
    with ExitStack() as stack:
        stack.enter_context(log_lines(as_json, quiet))
        member = stack.enter_context(join(settings, own.dir, "validator"))
        database = stack.enter_context(closing(Database(own.dir / VALIDATOR_FILE)))
        archive = Archive(own.dir)
        store, locator = _open_record_store(settings)
        author = Author(get_software(), member.parameters.digest, member.account.hotkey)
        tempo = member.parameters.timing.tempo
        ledger = stack.enter_context(open_posting(settings, database, member.account.hotkey))
        public = None if locator is None else store
        ahead = stack.enter_context(read_ahead(member.sources, public, own.mirrored))

        def note_window(audit: WindowAudit) -> None:
            archive.write_window(audit)
            logger.info("%s", _name_verdicts(audit))

        def note_settlement(settlement: Settlement) -> None:
            archive.write_settlement(settlement)
            paid = sum(1 for score in settlement.scores.values() if score)
            logger.info(
                "epoch %d settles windows %s: %s", settlement.epoch,
                ", ".join(map(str, settlement.windows)),
                f"weights for {paid} of {len(settlement.scores)} hotkeys" if paid
                else "nobody earned, all weight goes to the owner's uid",
            )  # fmt: skip

        validator = Validator(
            member.account.hotkey,
            member.parameters,
            member.sources,
            database,
            archive.write_context,
            note_window,
            note_settlement,
            start=member.chain.get_head(),
            book=RecordBook(
                database,
                member.chain,
                author,
                tempo,
                store,
                locator,
                None if ledger is None else ledger.put_record,
            ),
            ahead=ahead,
        )

        def describe() -> dict[str, Any]:
            return {
                "windows": [_describe_window(a) for a in validator.audits.values()][-_SHOWN:],
                "settlements": [describe_row(row) for row in list_rows(database, _SHOWN)],
                "posts": [describe_ledger_row(r) for r in list_ledger_rows(database, _SHOWN)],
                "posting_trouble": None if ledger is None else ledger.trouble,
            }

        standing = Standing(member, needs_permit=True)
        warn_briefly(_look_around(member, "validator", public, locator or ""), now_ms())
        return _drive(member, validator, describe, standing, as_json)


def _open_record_store(settings: Settings) -> tuple[ObjectStore, str | None]:
    """Where a validator's record goes, and its locator where others can open it: without a store
    of its own, into its folder, for the operator to serve."""
    if settings.store.locator is None:
        return open_folder(settings.validator.dir / "record"), None
    return open_own_store(settings)


def run_trainer(settings: Settings, as_json: bool, quiet: bool) -> int:
    """Trains until it is asked to stop; under torchrun, with the processes beside it.

    Raises:
        OperatorError: it could not run, or cannot go on.
    """
    with join_team() as rank:
        if rank == 0:
            return _run_first_trainer(settings, as_json, quiet)
        _use_threads(settings.trainer.threads)
        follow()
        return 0


def _run_first_trainer(settings: Settings, as_json: bool, quiet: bool) -> int:
    own = settings.trainer
    store, locator = open_own_store(settings)
    _use_threads(own.threads)
    with log_lines(as_json, quiet), join(settings, own.dir, "trainer") as member:
        trainer_hotkey = member.parameters.identity.trainer
        if member.account.hotkey != trainer_hotkey:
            raise ConfigError(
                f"the trainer of this network is {encode_ss58(trainer_hotkey)}, and the wallet's "
                f"hotkey is {encode_ss58(member.account.hotkey)}: name the right wallet"
            )
        lessons: list[dict[str, Any]] = []
        monitor = Monitor(
            own.dir, member.parameters, member.sources.checkpoints, own.problems, logger.info
        )

        def note_lesson(lesson: Lesson) -> None:
            reward = sum(lesson.rewards) / max(1, len(lesson.rewards)) / 1e6
            logger.info(
                "window %d: %d groups, mean reward %.3f, checkpoint %d (%s…)", lesson.window,
                len(lesson.rewards), reward, lesson.published.number,
                lesson.published.digest.hex()[:16],
            )  # fmt: skip
            lessons.append({
                "window": lesson.window, "groups": len(lesson.rewards), "reward": round(reward, 4),
                "checkpoint": lesson.published.number, "digest": lesson.published.digest.hex(),
                "stats": asdict(lesson.stats),
            })  # fmt: skip
            del lessons[:-_SHOWN]
            monitor.note(lesson)

        config = make_trainer_config(own, locator, store)
        trainer = Trainer(
            trainer_hotkey, member.parameters, member.sources, config, note_lesson, logger.info
        )
        warn_briefly(_look_around(member, "trainer", store, locator), now_ms())
        try:
            return _drive(
                member, TrainerWithMonitor(trainer, monitor),
                lambda: {
                    "window": trainer.window, "lessons": lessons, "alarm": monitor.alarm,
                    "held_out": [asdict(point) for point in monitor.points[-_SHOWN:]],
                },
                Standing(member), as_json,
            )  # fmt: skip
        finally:
            trainer.close()


def _look_around(
    member: Membership, role: str, store: ObjectStore | None = None, locator: str = ""
) -> Surroundings:
    """What a program that starts looks at first."""
    return Surroundings(
        role=role,
        folder=member.folder,
        groups_per_step=0,
        hotkey=member.account.hotkey,
        chain=member.chain,
        parameters=member.parameters,
        relays=member.beacons.check,
        store=store,
        shown=None if store is None else member.sources.stores.get(locator),
    )


def _drive(
    member: Membership,
    neuron: Neuron,
    describe: Callable[[], dict[str, Any]],
    standing: Standing,
    as_json: bool,
) -> int:
    """Runs the loop; the exit code of a program that was asked to stop."""
    timing = member.parameters.timing

    def describe_all() -> dict[str, Any]:
        return {
            "program": neuron.name,
            "netuid": member.chain.netuid,
            "hotkey": encode_ss58(member.account.hotkey),
            "head": standing.head,
            "window_now": compute_window(timing, standing.head),
            "fetching": [
                {"checkpoint": download.digest.hex(), "bytes": download.done, "of": download.due}
                for download in member.sources.checkpoints.downloads
            ],
        } | describe()

    standing.require_seat()
    with catch_signals(member.chain.hurry) as stop:
        Loop(neuron, member.folder, stop, describe_all, standing.check).run()
    logger.info("stopped as asked; the same command goes on from here")
    if as_json:
        print((member.folder / "status.json").read_text())
    return 0


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)


def _name_verdicts(audit: WindowAudit) -> str:
    """One line a window: how many of each reason, of those that committed to something."""
    reasons = [verdict.reason for verdict in audit.verdicts.values()]
    counts = Counter(reason.value for reason in reasons if reason is not Reason.NO_COMMITMENT)
    what = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    if reasons and not counts:
        what = "nobody committed"
    why = audit.void or audit.missing
    return f"window {audit.challenge.window}: {what or 'nobody judged'}" + (
        f" ({why})" if why else ""
    )


def _describe_window(audit: WindowAudit) -> dict[str, Any]:
    return {
        "window": audit.challenge.window,
        "checkpoint": audit.challenge.checkpoint.hex(),
        "state": "final" if audit.closed else "judging" if audit.context else "awaited",
        "void": audit.void,
        "missing": audit.missing,
        "verdicts": [
            {
                "hotkey": encode_ss58(hotkey),
                "reason": verdict.reason.value,
                "score": compute_score(verdict),
            }
            for hotkey, verdict in sorted(audit.verdicts.items())
        ],
    }
