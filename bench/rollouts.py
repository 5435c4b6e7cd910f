"""The explorer's browser over 200,000 rollouts of at most 64 tokens and 20,000 of 1,000, on one
core: filling its index, killed in the middle and resumed, and its pages.

Steps are a trainer's own files, made by the code that writes them. Their texts are pieces of
Python's documentation, from which the tokenizer has learned its words. Processor seconds are those
of the explorer and its helpers, with what the killed ones had done. Seconds of a page are those
within the process, from request to last byte. `--fast` takes a twentieth.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
from figures import FAST, Figure, measure_together, report
from starlette.testclient import TestClient
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from assay.artifacts.discovery import publish_parameters
from assay.artifacts.steps.config import StepConfig
from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.steps.folder import StepFolder, make_record
from assay.explorer import Access, Index, make_app
from assay.explorer.rollout_index import has_trigrams
from assay.explorer.sources.record import ExplorerRequest, open_source
from assay.inference.checkpoint import load_outline
from assay.inference.folder import (
    CONFIG_FILE,
    MANIFEST_FILE,
    digest_structure,
    digest_tokenizer,
    verify_manifest,
)
from assay.network.files import write_json
from assay.network.store.folder import open_folder
from assay.neurons.validator.judged_window import Settlement
from assay.neurons.validator.make_records import Author, RecordHeads, make_records
from assay.protocol.amendment import ParameterHistory
from assay.protocol.beacon import QUICKNET
from assay.protocol.encoding import encode, to_json
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Parameters
from assay.protocol.record import (
    make_latest_name,
    make_settlement_record_name,
    make_window_record_name,
)
from assay.protocol.ss58 import encode_ss58
from assay.settings.sections import Settings
from assay.subnet.presets import make_demo_parameters
from assay.training import GENESIS, Group, LearnConfig

SHARE = 20 if FAST else 1
#: Name → rollouts, most and fewest tokens of each, rollouts of a step, processor seconds.
KINDS = {
    "200,000 of at most 64 tokens": (200_000 // SHARE, 64, 16, 2_000, 60),
    "20,000 of 1,000 tokens": (20_000 // SHARE, 1_000, 1_000, 200, 120),
}
GROUP, MINERS, WORDS = 8, 16, 4_096
VALIDATOR = b"v" * 32
HTML = {"accept": "text/html"}
TEXT = "\n".join(topics.values())


def make_genesis(folder: Path) -> Manifest:
    """The shipped checkpoint with a tokenizer of words; its tensors are not read here."""
    shutil.copytree(GENESIS, folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<end>"]
    tokenizer.train_from_iterator(
        TEXT.split("\n\n"),
        trainers.BpeTrainer(vocab_size=WORDS, special_tokens=special, show_progress=False),
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = json.loads((folder / CONFIG_FILE).read_text()) | {"vocab_size": WORDS}
    write_json(folder / CONFIG_FILE, config)
    manifest = replace(
        verify_manifest(GENESIS),
        structure=digest_structure(folder),
        tokenizer=digest_tokenizer(folder),
        end_tokens=(tokenizer.token_to_id("<end>"),),
        max_tokens=1_000,
    )
    write_json(folder / MANIFEST_FILE, to_json(manifest))
    return manifest


class Trainer:
    """A trainer's folder with steps, and a validator's record that knows none of them."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind
        manifest = make_genesis(folder / "new")
        place = folder / "trainer" / "models" / manifest.digest.hex()
        place.parent.mkdir(parents=True)
        (folder / "new").rename(place)
        self.manifest = manifest
        self.parameters = make_demo_parameters(bytes(32), QUICKNET, 0, b"t" * 32, manifest.digest)
        self.ids: list[int] = load_outline(place).tokenizer.encode_text(TEXT)
        self.random, self.numbers = random.Random(kind), np.random.default_rng(7)
        self.hotkeys = [bytes([1 + miner]) * 32 for miner in range(MINERS)]

    def write_steps(self) -> None:
        rollouts, most, least, size, _ = KINDS[self.kind]
        steps = StepFolder(self.folder / "trainer" / "steps", kept=0)
        config = StepConfig(LearnConfig())
        parent = self.manifest
        for window in range(1, 1 + rollouts // size):
            taken = [
                self._make_group(window, number, most, least) for number in range(size // GROUP)
            ]
            given = config, (bytes(32), bytes(32)), {"none": torch.zeros(1)}, torch.device("cpu")
            record = make_record(self.parameters, window, taken, [], parent, *given)
            steps.keep_data(record, self.parameters, taken)
            child = replace(parent, number=parent.number + 1)
            steps.keep_record(record, child.digest)
            parent = child

    def _make_group(self, window: int, number: int, most: int, least: int) -> ConsumedGroup:
        draw = self.random
        completions = [self._take(draw.randint(least, most) - 1) for _ in range(GROUP)]
        for tokens in completions:
            tokens.append(self.manifest.end_tokens[0] if draw.random() < 0.9 else tokens[-1])
        logprobs = [(-self.numbers.random(len(t))).tolist() for t in completions]
        rewards = [draw.choice((0, 200_000, 1_000_000)) for _ in completions]
        group = Group(self._take(24), completions, rewards, logprobs)
        hotkey = self.hotkeys[number % MINERS]
        place = self.parameters.identity.genesis_checkpoint, hotkey[::-1], bytes(32)
        return ConsumedGroup(group, window, hotkey, number // MINERS, *place, (1 + number % 9,))

    def _take(self, count: int) -> list[int]:
        start = self.random.randrange(len(self.ids) - count)
        return self.ids[start : start + count]

    def write_record(self) -> None:
        """Of a validator that abstained from all."""
        place, address = self.folder / "record", encode_ss58(VALIDATOR)
        place.mkdir()
        publish_parameters(open_folder(place), self.parameters)
        author = Author("assay bench", ParameterHistory(self.parameters), VALIDATOR)
        abstained = Settlement(100, (), (1,), {}, {})
        (window,), settled = make_records(author, RecordHeads(), abstained, {})
        latest = {"epoch": settled.epoch, "digest": settled.digest.hex()}
        for name, data in (
            (make_window_record_name(address, window.window), encode(window)),
            (make_settlement_record_name(address, settled.epoch), encode(settled)),
            (make_latest_name(address), json.dumps(latest).encode()),
        ):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)


@contextmanager
def open_explorer(folder: Path, parameters: Parameters) -> Iterator[Any]:
    """The application over a folder, and the indexer of its rollouts."""
    named = {"record": str(folder / "record"), "trainer": folder / "trainer"}
    settings = Settings(explorer=named | {"hotkey": encode_ss58(VALIDATOR)})  # type: ignore[arg-type]
    with ExitStack() as stack:
        source = open_source(ExplorerRequest(settings, None), stack, lambda: None, print)
        index = Index(folder / "index.sqlite", VALIDATOR, parameters.digest)
        stack.callback(index.close)
        access = Access(rate=1e9)
        app, _, indexer, rollouts = make_app(source.subject, index, source.sources, access=access)
        assert rollouts is not None
        stack.callback(rollouts.stop)
        indexer.step()
        yield app, rollouts


def fill(folder: Path, parameters: Parameters, result: Path) -> None:
    """Fill the index, in a process of its own; writes its processor seconds and peak memory."""
    with open_explorer(folder, parameters) as (_, rollouts):
        rollouts.step()
        while rollouts.progress.read < len(list((folder / "trainer" / "steps").glob("*.json"))):
            time.sleep(1)  # a machine that is busy may have lost a helper
            rollouts.step()
        status = Path("/proc/self/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1_024
        result.write_text(json.dumps([measure_tree(os.getpid()), peak]))


def measure_tree(pid: int) -> float:
    """Processor seconds of a process, of those that it has waited for, and of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    spent = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    for task in Path(f"/proc/{pid}/task").iterdir():
        spent += sum(map(measure_tree, map(int, (task / "children").read_text().split())))
    return spent


def start(run: Callable[[], None]) -> int:
    """Run in a fork."""
    pid = os.fork()
    if not pid:
        try:
            run()
        finally:
            os._exit(0)
    return pid


def count_rollouts(index: Path) -> int:
    if not index.exists():
        return 0
    database = sqlite3.connect(index)
    try:
        (count,) = database.execute("SELECT count(*) FROM rollouts").fetchone()
    except sqlite3.OperationalError:  # its tables are being made
        return 0
    finally:
        database.close()
    return int(count)


def measure_filling(trainer: Trainer) -> list[Figure]:
    """The index of a trainer's steps, filled, killed at the half, filled on."""
    rollouts, _, _, _, bound = KINDS[trainer.kind]
    folder, result = trainer.folder, trainer.folder / "result.json"
    index = folder / "index-rollouts.sqlite"
    run = partial(fill, folder, trainer.parameters, result)
    pid = start(run)
    while count_rollouts(index) < rollouts // 2:
        time.sleep(0.1)
    killed, kept = measure_tree(pid), count_rollouts(index)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    begun = time.perf_counter()
    os.waitpid(start(run), 0)
    wall = time.perf_counter() - begun
    resumed, peak = json.loads(result.read_text())
    assert count_rollouts(index) == rollouts, count_rollouts(index)
    name = trainer.kind
    megabytes = sum(p.stat().st_size for p in folder.glob("index-rollouts.sqlite*")) / 1e6
    return [
        Figure(f"{name}: processor time of the index", killed + resumed, "s", bound=bound),
        Figure(f"{name}: of that after a kill with {kept:,} indexed", resumed, "s"),
        Figure(f"{name}: clock time after the kill", wall, "s"),
        Figure(f"{name}: index", megabytes, "MB"),
        Figure(f"{name}: memory of the process that fills it, at its highest", peak, "MiB"),
    ]


def measure_pages(trainer: Trainer) -> list[Figure]:
    """Pages over a full index: of several addresses of a kind the slowest."""
    some = trainer._take(12)
    place = trainer.folder / "trainer" / "models" / trainer.manifest.digest.hex()
    phrase = load_outline(place).tokenizer.decode(some).strip()
    kinds: dict[str, tuple[float, Sequence[dict[str, str]]]] = {
        "first page": (0.3, [{}]),
        "filter and order": (
            0.3,
            [
                {"level": "3", "reward": "0.5-", "sort": "surprising"},
                {"window": "10-20", "end": "length", "sort": "longest"},
                {"miner": encode_ss58(trainer.hotkeys[3]), "sort": "best"},
                {"tokens": "20-900", "end": "stop", "sort": "worst", "page": "3"},
            ],
        ),
        "text search": (
            0.5,
            [
                {"q": "the"},
                {"q": "function"},
                {"q": phrase},
                {"q": "no such text", "sort": "best"},
                {"q": "the object", "reward": "1", "sort": "longest"},
            ],
        ),
    }
    figures = []
    with open_explorer(trainer.folder, trainer.parameters) as (app, _):
        client = TestClient(app, base_url="http://127.0.0.1")
        for kind, (bound, queries) in kinds.items():
            seconds = {}
            for query in queries:
                run = partial(client.get, "/rollouts", params=query, headers=HTML)
                assert run().status_code == 200
                name = " ".join(f"{k}={v}" for k, v in query.items())[:40]
                (seconds[name],) = measure_together([run], 7)
            slowest = max(seconds, key=lambda name: seconds[name])
            name = f"{trainer.kind}: {kind}" + (f", slowest: {slowest}" if slowest else "")
            figures.append(Figure(name, seconds[slowest], "s", bound=bound))
        if kind == "text search":
            run = partial(client.get, "/rollouts", params={"q": "zq"}, headers=HTML)
            name = f"{trainer.kind}: a scan for two characters"
            figures.append(Figure(name, measure_together([run], 7)[0], "s"))
    return figures


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    assert has_trigrams()
    figures = list[Figure]()
    for kind in KINDS:
        with tempfile.TemporaryDirectory(prefix="assay-") as scratch:
            trainer = Trainer(Path(scratch), kind)
            trainer.write_steps()
            trainer.write_record()
            figures += measure_filling(trainer)
            figures += measure_pages(trainer)
            print(*figures, sep="\n", flush=True)
    report(
        f"the browser of rollouts: {', '.join(KINDS)}" + f", a {SHARE}th" * FAST,
        figures,
        threads=1,
        sqlite=sqlite3.sqlite_version,
    )


if __name__ == "__main__":
    main()
