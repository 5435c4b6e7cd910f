"""The explorer over a record of 10,000 windows × 32 miners: its first page, its slowest page, its
index and its memory.

The validator's own code makes the record: real encodings, real links, beacons signed by a separate
chain; only the verdicts are made up. Seconds of a page are those within the process, from request
to last byte, compared with a Starlette page of constant text, requested in the same way. The
program's memory is read from a separate process that has served each kind of page. It is compared
with the memory of a program without a child, which loads PyTorch and the model's code itself. The
first paint and the bytes are a browser's (Debian's chromium; without it they are left out), of the
overview with its charts and of the training page with its curves: bytes of a first visit with all
files, paint of a later one. `--fast` takes 500 windows.
"""

import json
import random
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from time import perf_counter

from figures import FAST, Figure, measure_together, report
from playwright.sync_api import Page, sync_playwright
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from assay.artifacts.store_objects import make_parameters_name
from assay.explorer import Index, make_app
from assay.explorer.sources.record import ExplorerRequest, open_source
from assay.network.beacon import LocalBeacon
from assay.protocol.encoding import encode
from assay.protocol.parameters import DEMO_TIMING, Parameters
from assay.protocol.reason import Reason
from assay.protocol.record import (
    NOTHING,
    RECORD_VERSION,
    CoveredWindow,
    MemberRow,
    Moment,
    Outcome,
    SeatScore,
    Seen,
    SettlementRecord,
    Weight,
    WindowRecord,
    make_latest_name,
    make_settlement_record_name,
    make_statistics_name,
    make_window_record_name,
)
from assay.protocol.score_tree import compute_weights_digest, make_score_tree
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block, compute_round
from assay.settings.sections import Settings
from assay.subnet.presets import make_demo_parameters
from assay.verification import Result, Seat, compute_settlement, compute_weights

WINDOWS, MINERS, TOGETHER = (500 if FAST else 10_000), 32, 12
#: Newest windows that have statistics, and with them rewards and tokens: as many as are drawn.
CHARTED = 1_000
NOW_MS = 1_767_225_600_000
VALUES = (250, 251, 252, 253)
CHROMIUM, VISITS = Path("/usr/bin/chromium"), 40
#: Bytes of what a page has loaded, the page itself included.
SIZE = (
    "['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))"
    ".filter(one => !one.name.endsWith('/events'))"
    ".reduce((sum, one) => sum + one.encodedBodySize, 0)"
)
PAINT = (
    "new Promise(done => new PerformanceObserver(seen => seen.getEntriesByName("
    "'first-contentful-paint').forEach(one => done(one.startTime)))"
    ".observe({type: 'paint', buffered: true}))"
)
HTML = {"accept": "text/html"}
REASONS = (Reason.ACCEPTED, Reason.ACCEPTED, Reason.ACCEPTED, Reason.SAMPLING_MISMATCH)


def digest(name: str) -> bytes:
    return sha256(name.encode()).digest()


HOTKEYS = sorted(digest(f"miner {uid}") for uid in range(MINERS))
VALIDATOR = digest("validator")
ADDRESS = encode_ss58(VALIDATOR)


class Record:
    """A writer of a record, settlement after settlement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.beacon = LocalBeacon(b"bench", NOW_MS, 1_000, lambda: 2**62)
        self.parameters: Parameters = make_demo_parameters(
            digest("chain"), self.beacon.chain, 0, digest("trainer"), digest("genesis")
        )
        name = make_parameters_name(self.parameters.digest)
        self._write(name, json.dumps(self.parameters.to_json()).encode())

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def write(self) -> None:
        """Write the whole record."""
        previous, window_before, epoch_before = NOTHING, NOTHING, 0
        for first in range(1, WINDOWS + 1, TOGETHER):
            windows = []
            for window in range(first, min(first + TOGETHER, WINDOWS + 1)):
                record = self._make_window(window, window_before)
                self._write(make_window_record_name(ADDRESS, window), encode(record))
                window_before = record.digest
                windows.append(record)
            settlement = self._make_settlement(windows, previous, epoch_before)
            name = make_settlement_record_name(ADDRESS, settlement.epoch)
            self._write(name, encode(settlement))
            previous, epoch_before = settlement.digest, settlement.epoch
        latest = {"epoch": epoch_before, "digest": previous.hex()}
        self._write(make_latest_name(ADDRESS), json.dumps(latest).encode())
        for window in range(max(1, WINDOWS - CHARTED + 1), WINDOWS + 1):
            data = make_statistics(window, self.parameters.work.group_size).encode()
            self._write(make_statistics_name(ADDRESS, window), data)

    def _make_moment(self, window: int, phase: Phase) -> Moment:
        block = compute_block(DEMO_TIMING, window, phase)
        timestamp = NOW_MS + 1_000 * block
        beacon = self.beacon.get(
            compute_round(self.parameters.timing, self.beacon.chain, timestamp)
        )
        assert beacon is not None
        return Moment(digest(f"block {block}"), timestamp, beacon)

    def _make_window(self, window: int, previous: bytes) -> WindowRecord:
        rows = []
        for uid, hotkey in enumerate(HOTKEYS):
            reason = find_reason(window, uid)
            accepted = reason is Reason.ACCEPTED
            seen = Seen(digest(f"root {uid}"), 24, "https://a-store.example/miners")
            rows.append(
                MemberRow(
                    hotkey,
                    uid,
                    7,
                    seen,
                    reason,
                    VALUES if accepted else (),
                    24 * sum(VALUES) // 4 if accepted else 0,
                    hotkey[: 2 * self.parameters.work.audited_rollouts],
                )
            )
        return WindowRecord(
            RECORD_VERSION,
            "assay bench",
            self.parameters.digest,
            VALIDATOR,
            window,
            previous,
            Outcome.COUNTED,
            self._make_moment(window, Phase.CHALLENGE),
            self._make_moment(window, Phase.AUDIT),
            self._make_moment(window, Phase.SAMPLE),
            digest(f"checkpoint {window // 20}"),
            tuple(rows),
        )

    def _make_settlement(
        self, windows: list[WindowRecord], previous: bytes, epoch_before: int
    ) -> SettlementRecord:
        last = windows[-1]
        assert last.audit is not None
        results = [
            Result(w.window, Seat(row.uid, 7), row.reason, row.score)
            for w in windows
            for row in w.members
            if row.reason is not None
        ]
        scores = compute_settlement(results)
        weights = compute_weights({seat.uid: score for seat, score in scores.items()}, 0, 0)
        pairs = [(HOTKEYS[seat.uid], score) for seat, score in scores.items()]
        listed = sorted(weights.items())
        return SettlementRecord(
            RECORD_VERSION,
            "assay bench",
            self.parameters.digest,
            VALIDATOR,
            compute_block(DEMO_TIMING, last.window, Phase.VERDICT_END),
            epoch_before,
            previous,
            tuple(CoveredWindow(w.window, w.digest, w.outcome) for w in windows),
            last.checkpoint,
            last.audit.beacon.round,
            tuple(SeatScore(hotkey, uid, 7, score) for uid, (hotkey, score) in enumerate(pairs)),
            make_score_tree(pairs).root,
            0,
            tuple(Weight(*one) for one in listed),
            compute_weights_digest(listed),
        )


def find_reason(window: int, uid: int) -> Reason:
    return REASONS[(uid + window // 50) % len(REASONS)]


def make_statistics(window: int, group_size: int) -> str:
    """Statistics beside a window's record: measurements, rewards and lengths."""
    statistics = {
        "margin_max": 1e-5,
        "log_capital": 0.1,
        "logprob_rms": 1e-5,
        "sketch_mean": 0.01,
        "ledger_capital": 0.2,
    }
    draw = random.Random(window)
    verdicts = [
        {
            "hotkey": encode_ss58(hotkey),
            "reason": find_reason(window, uid).value,
            "detail": "8 rollouts judged, all genuine; 4 of 24 groups valued",
            "statistics": statistics,
            "tokens": draw.randrange(2_000, 3_000),
            "groups": [
                {
                    "index": index,
                    "value": VALUES[index],
                    "audited": [draw.randrange(group_size)],
                    "rewards": [draw.choice((0, 1_000_000)) for _ in range(group_size)],
                    "correctness": [],
                }
                for index in range(len(VALUES))
            ],
        }
        for uid, hotkey in enumerate(HOTKEYS)
    ]
    return json.dumps({"verdicts": verdicts})


def list_pages() -> list[str]:
    hotkey = encode_ss58(HOTKEYS[0])
    return [
        "/",
        "/miners",
        f"/miner/{hotkey}",
        "/windows",
        "/windows?page=100",
        f"/window/{WINDOWS}",
        f"/window/{WINDOWS}/{hotkey}",
        "/weights",
        "/ledger",
        "/training",
        "/gauntlet",
    ]


@contextmanager
def run_program(record: Path, index: Path) -> Iterator[tuple[str, int]]:
    """Run `assay explorer` as a separate program; yields its address and process id."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "assay",
        "explorer",
        "--record",
        str(record),
        "--index",
        str(index),
        "--port",
        "0",
        "--quiet",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().rstrip("/"), process.pid
        finally:
            process.terminate()


def measure_memory(record: Path, index: Path) -> float:
    """Peak MiB of a process that has served each kind of page ten times."""
    with run_program(record, index) as (address, pid):
        for _ in range(10):
            for path in list_pages():
                with urllib.request.urlopen(address + path, timeout=60) as answer:
                    answer.read()
        status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1_024


def measure_paint(page: Page, place: str) -> float:
    """Milliseconds from a navigation to the first paint of content."""
    page.goto(place, wait_until="load")
    return float(page.evaluate(PAINT))


def measure_browser(record: Path, index: Path) -> list[Figure]:
    """What a browser takes for the overview and the training page; nothing without a browser."""
    if not CHROMIUM.exists():
        print(f"{CHROMIUM} is not there: no figure of a browser")
        return []
    figures = []
    with run_program(record, index) as (address, _), sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        for name, path, bounds in (("overview", "/", (50, 150)), ("training", "/training", ())):
            with page.expect_event("load"):
                page.goto(address + path)
            size = page.evaluate(SIZE)
            drawings = page.locator("svg.spark, figure.curve").count()
            constant, paints = (  # one after the other: another origin takes another process
                [measure_paint(page, place) for _ in range(VISITS)]
                for place in ("data:text/html,a constant text", address + path)
            )
            base = ("a constant page", min(constant))
            paint_bound, size_bound = bounds or (None, None)
            figures += [
                Figure(f"{name}, first paint, warm", min(paints), "ms", *base, bound=paint_bound),
                Figure(
                    f"{name} with all files and {drawings} charts",
                    size / 1e3,
                    "kB",
                    bound=size_bound,
                ),
            ]
        browser.close()
    return figures


def measure_without_child() -> float:
    """MiB of a process that has loaded the explorer and the model code of its child."""
    modules = ("assay.explorer", "assay.explorer.sources.group_child")
    code = f"import {', '.join(modules)}; print(open('/proc/self/status').read())"
    status = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True
    ).stdout
    return int(status.partition("VmHWM:")[2].split()[0]) / 1_024


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="assay-") as scratch:
        folder, index_folder = Path(scratch) / "record", Path(scratch) / "index"
        record = Record(folder)
        record.write()
        settings = Settings(explorer={"record": str(folder)})  # type: ignore[arg-type] # by name
        figures = measure_pages(record, settings, index_folder)
        figures.append(
            Figure(
                "memory of the program, at its highest",
                measure_memory(folder, index_folder),
                "MiB",
                "without a child for models",
                measure_without_child(),
                bound=150,
            )
        )
        figures += measure_browser(folder, index_folder)
        report(f"explorer: {WINDOWS:,} windows, {MINERS} miners", figures, threads=1)


def measure_pages(record: Record, settings: Settings, folder: Path) -> list[Figure]:
    with ExitStack() as stack:
        source = open_source(ExplorerRequest(settings, None), stack, lambda: None, print)
        name = f"{ADDRESS}-{record.parameters.digest.hex()[:16]}.sqlite"
        index = Index(folder / name, VALIDATOR, record.parameters.digest)
        stack.callback(index.close)
        app, _, indexer, _ = make_app(source.subject, index, source.sources)
        started = perf_counter()
        indexer.step()
        reading = perf_counter() - started
        static = Starlette(routes=[Route("/", lambda _: PlainTextResponse("a constant text"))])
        client = stack.enter_context(TestClient(app, base_url="http://127.0.0.1"))
        plain = stack.enter_context(TestClient(static, base_url="http://127.0.0.1"))
        sizes = {path: len(client.get(path, headers=HTML).content) for path in list_pages()}
        runs = [lambda: plain.get("/", headers=HTML)]
        runs += [make_run(app, path, n) for n, path in enumerate(sizes)]
        base, *seconds = measure_together(runs, 11)
        rows = dict(zip(sizes, seconds, strict=True))
        slowest = max(rows, key=lambda path: rows[path])
        heaviest = max(sizes, key=lambda path: sizes[path])
        constant = ("a constant page", base * 1e3)
        return [
            Figure("first page, server time", rows["/"] * 1e3, "ms", *constant, bound=50),
            Figure("first page", sizes["/"] / 1e3, "kB", bound=60),
            Figure(f"slowest page ({name_page(slowest)})", rows[slowest] * 1e3, "ms", *constant),
            Figure(f"heaviest page ({name_page(heaviest)})", sizes[heaviest] / 1e3, "kB"),
            Figure("a window read into the index", reading / WINDOWS * 1e3, "ms"),
            Figure("index", (folder / name).stat().st_size / 1e6, "MB"),
        ]


def make_run(app: ASGIApp, path: str, number: int) -> Callable[[], object]:
    """A function that requests a page, each time from another address, because the rate limit
    counts by address."""
    client = TestClient(app, base_url="http://127.0.0.1", client=(f"10.0.0.{number}", 1))

    def run() -> None:
        answer = client.get(path, headers=HTML)
        assert answer.status_code == 200, (path, answer.status_code)

    return run


def name_page(path: str) -> str:
    return path.split("?")[0].split("/")[1] or "overview"


if __name__ == "__main__":
    main()
