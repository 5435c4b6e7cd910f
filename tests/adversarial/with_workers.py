"""A validator whose workers run the forward passes, driven to settlements; and its results."""

import json
import sqlite3
from dataclasses import replace

import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.database import Database
from assay.artifacts.submissions.judging_threads import JudgingThreads
from assay.artifacts.submissions.read_ahead import ReadAhead
from assay.network.store.folder import open_folder
from assay.neurons.validator.make_records import Author
from assay.neurons.validator.record_book import RecordBook
from assay.neurons.validator.validator import Validator
from tests.adversarial.conftest import make_world
from tests.adversarial.mortal import forget_clocks

MINERS = ("alice", "bob", "carol", "dave")


class Employer:
    """One subnet in memory, four honest miners, and a validator with workers.

    Args:
        pool: None: it judges by itself, as one without workers does.
        disturb: called with the validator before each of its steps.
        threads: those that judge without workers; None: each file is judged within a step.
        keep: see `ReadAhead`.
    """

    def __init__(
        self,
        folder,
        pool,
        disturb=lambda validator: None,
        reads_ahead=True,
        threads=None,
        keep=None,
    ):
        torch.set_num_threads(1)
        self.world = make_world(folder, mining=MINERS)
        self.folder, self.disturb, self.reads_ahead = folder, disturb, reads_ahead
        self.threads, self.keep = threads, keep
        self.database = self.ahead = self.validator = None
        self.settlements, self.windows, self.troubles = [], [], []
        self.hire(pool)

    def hire(self, pool):
        """A validator that continues from the folder."""
        world, folder = self.world, self.folder
        if self.database is not None:
            self.database.close()
        self.database = Database(folder / "validator.sqlite")
        author = Author("assay test", world.history, world.hotkeys["validator"])
        book = RecordBook(
            self.database,
            world.chain,
            author,
            world.parameters.timing.tempo,
            open_folder(folder / "record"),
            "https://records.example",
        )
        sources, threads = world.sources, self.threads
        if pool is not None:
            checkpoints = CheckpointFolder(folder / "models", load=pool.load)
            sources = replace(sources, checkpoints=checkpoints)
            threads = JudgingThreads(pool.count + 1, lambda: pool.waited_s)
        self.ahead = ReadAhead(sources, self.keep, threads=2) if self.reads_ahead else None
        self.validator = Validator(
            world.hotkeys["validator"],
            world.history,
            sources,
            self.database,
            lambda context: None,
            self.windows.append,
            self.settlements.append,
            book=book,
            ahead=self.ahead,
            threads=threads,
            pool=pool,
        )

    def play(self, settlements=2, blocks=200):
        """Run until this many settlements are published."""
        for _ in range(blocks):
            self.world.mint()
            while True:
                self.disturb(self.validator)
                if not self.validator.step():
                    break
                self.troubles.append(self.validator.trouble)
            if len(self.settlements) == settlements:
                break
        for _ in range(self.world.parameters.timing.tempo):  # weights and records leave
            self.world.chain.mint()
            while self.validator.step():
                pass
        if self.ahead is not None:
            self.ahead.close()
        return self

    def read_records(self):
        """Name → bytes of all publications, JSON without values that depend on a clock."""
        found = {}
        for path in sorted((self.folder / "record").rglob("*")):
            if path.suffix == ".json":
                found[path.name] = json.dumps(forget_clocks(json.loads(path.read_text())))
            elif path.is_file():
                found[path.name] = path.read_bytes()
        return found

    def read_journal(self):
        """The journal's content on windows that are not settled, and every ledger, as text."""
        with sqlite3.connect(self.folder / "validator.sqlite") as database:
            verdicts = database.execute("SELECT window, hotkey, verdict FROM verdicts").fetchall()
            ledgers = database.execute("SELECT * FROM ledgers").fetchall()
        return sorted(verdicts), sorted(ledgers)
