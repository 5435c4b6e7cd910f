"""A program's messages: as JSON, as a line, and to nobody."""

import ast
import io
import json
import logging
import subprocess
import sys

import pytest
from rich.console import Console

from assay.neurons.program.logs import LOG_CONTEXT, log_lines, make_formatter, mask_secrets
from assay.neurons.program.status import ChainStatus
from assay.neurons.trainer.monitor import HeldOutPoint
from assay.neurons.trainer.program import write_step
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.window import Block
from assay.training.pace import PaceFigures
from tests.statuses import EVENTS
from tests.tree import ROOT, list_sources

SOURCES = list_sources() + list_sources("subtensor_devnet")
#: Writes far more than a pipe holds, and than may wait.
SHOUT = """
import logging, sys
from assay.neurons.program.logs import log_lines
with log_lines(as_json=True, quiet=False):
    for n in range(5_000):
        logging.getLogger("assay").info("x" * 500, extra={"event": "trouble"})
print("went on")
"""


def find_calls() -> list[tuple[str, ast.Call]]:
    found = []
    for path in SOURCES:
        text = path.read_text()
        for node in ast.walk(ast.parse(text if "logger" in text else "")):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                if isinstance(owner, ast.Name) and owner.id == "logger":
                    found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node))
    return found


def test_every_line_has_an_event_of_the_table_and_every_event_a_line() -> None:
    used = set()
    for where, call in find_calls():
        extra = {word.arg: word.value for word in call.keywords}.get("extra")
        assert isinstance(extra, ast.Dict), where
        names = [ast.literal_eval(key) for key in extra.keys if key is not None]
        event = ast.literal_eval(extra.values[names.index("event")])
        assert event in EVENTS, where
        used.add(event)
    text = "".join(path.read_text() for path in SOURCES)
    forms = ('make_report("{}")', '"event": "{}"')  # a first line comes before there is a logger
    reported = {name for name in EVENTS if any(form.format(name) in text for form in forms)}
    assert used | reported == EVENTS


def make_record(message: str, level: int = logging.INFO) -> logging.LogRecord:
    record = logging.LogRecord("assay", level, "", 0, message, (), None)
    record.event = "trouble"
    record.created = 0.25
    return record


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests' programs have left theirs."""
    for name in ("program", "hotkey", "seen", "timing"):
        monkeypatch.setattr(LOG_CONTEXT, name, None)


@pytest.fixture
def origin(nowhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    head = Block(3 * DEMO_TIMING.window_blocks + 1, bytes(32), 0)
    monkeypatch.setattr(LOG_CONTEXT, "hotkey", "5abcdefghijklmn")
    monkeypatch.setattr(LOG_CONTEXT, "program", "miner")
    monkeypatch.setattr(LOG_CONTEXT, "seen", ChainStatus(head))
    monkeypatch.setattr(LOG_CONTEXT, "timing", DEMO_TIMING)


def test_a_document_says_when_who_where_and_what(origin: None) -> None:
    line = make_formatter(True, Console(file=io.StringIO())).format(make_record("no node"))
    assert json.loads(line) == {
        "at": "1970-01-01T00:00:00.250Z",
        "level": "info",
        "event": "trouble",
        "message": "no node",
        "window": 3,
        "phase": "CHALLENGE",
        "hotkey": "5abcdefghijklmn",
    }


def test_before_the_chain_was_looked_at_the_fields_are_there_and_null() -> None:
    line = make_formatter(True, Console(file=io.StringIO())).format(make_record("no node"))
    found = json.loads(line)
    assert [found[name] for name in ("window", "phase", "hotkey")] == [None] * 3


def test_a_line_for_people_is_plain_in_a_file_and_coloured_on_a_terminal(
    origin: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    warning = make_record("no node\x1b[2J", logging.WARNING)

    def draw(terminal: bool) -> str:
        console = Console(file=io.StringIO(), force_terminal=terminal)
        return make_formatter(False, console).format(warning)

    plain = draw(terminal=False)
    assert plain.endswith(" WARN  window=3 phase=challenge miner=5abc…  no node?[2J")
    assert "\x1b[33m" in draw(terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert draw(terminal=True) == plain


def test_a_line_names_only_what_is_known_and_the_program_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    formatter = make_formatter(False, Console(file=io.StringIO()))
    assert formatter.format(make_record("miner: no node")).endswith(" INFO  miner: no node")
    monkeypatch.setattr(LOG_CONTEXT, "program", "miner")
    assert formatter.format(make_record("miner: no node")).endswith(" INFO  no node")


@pytest.mark.parametrize("window", [31, 1_234_567])
def test_a_step_of_the_trainer_fits_into_120_characters(
    origin: None, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    head = Block(window * DEMO_TIMING.window_blocks + 1, bytes(32), 0)
    monkeypatch.setattr(LOG_CONTEXT, "seen", ChainStatus(head))
    monkeypatch.setattr(LOG_CONTEXT, "program", "trainer")
    step = {"checkpoint": 12_345, "reward": 0.53449}
    newest = HeldOutPoint(12_344, 0.5, 0.1, 657, 1_000, None)
    pace = PaceFigures(1, 0, 0, 0, 0, "learning", 0, None, 1_234_567.8)
    said = write_step(step, newest, pace)
    assert said == "step=12345 reward=0.534 eval=0.657@12344 tokens/s=1234568"
    line = make_formatter(False, Console(file=io.StringIO())).format(make_record(said))
    assert line.endswith(f" INFO  window={window} phase=challenge trainer=5abc…  {said}")
    assert len(line) <= 120


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("wss://me:hunter2@node/path", "wss://…@node/path"),
        ("wss://me:hunt@er2@node/path", "wss://…@node/path"),
        ("https://s/x?X-Amz-Signature=abc&part=1", "https://s/x?X-Amz-Signature=…&part=1"),
        ("https://s/x?sv=1&SIG=a%2Fb)", "https://s/x?sv=1&SIG=…"),
        ("https://s/?api_key=1 and ?token=2", "https://s/?api_key=… and ?token=…"),
        ("mail a@b, 3 groups", "mail a@b, 3 groups"),
    ],
)
def test_possible_secrets_are_left_out(said: str, kept: str) -> None:
    assert mask_secrets(said) == kept
    for as_json in (True, False):
        console = Console(file=io.StringIO())
        line = make_formatter(as_json, console).format(make_record(said))
        assert kept in (json.loads(line)["message"] if as_json else line)


def test_quiet_leaves_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    with log_lines(as_json=False, quiet=True):
        logging.getLogger("assay.chain").info("unheard", extra={"event": "node_found"})
        logging.getLogger("assay.chain").warning("heard", extra={"event": "node_lost"})
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.endswith(" WARN  heard\n")
    assert captured.out == ""


def test_another_packages_events_are_lines_like_ours(capsys: pytest.CaptureFixture[str]) -> None:
    other = logging.getLogger("subtensor_devnet")
    with log_lines(True, False, "subtensor_devnet"):
        other.info("it runs", extra={"event": "devnet_started"})
    other.info("unheard", extra={"event": "devnet_started"})
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["message"], line["level"]) == ("devnet_started", "it runs", "info")


def shout() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SHOUT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_reader_that_is_gone_stops_nothing() -> None:
    process = shout()
    assert process.stderr is not None
    process.stderr.close()
    assert process.stdout is not None
    assert process.stdout.read() == "went on\n"
    assert process.wait(60) == 0


def test_a_reader_that_does_not_read_stops_nothing() -> None:
    process = shout()
    assert process.stdout is not None
    assert process.stdout.read() == "went on\n"
    assert process.wait(60) == 0
    process.communicate(timeout=60)


def test_lines_that_nobody_could_take_are_counted() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOUT + SHOUT.replace("range(5_000)", "range(1)")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    lost = [line["message"] for line in lines if line["event"] == "lines_lost"]
    written = sum(line["event"] == "trouble" for line in lines)
    told = sum(int(message.split()[0]) for message in lost)
    assert written + told == 5_001


def test_a_signal_in_the_middle_of_a_line_stops_nothing() -> None:
    """Its handler says something, too, in the same thread."""
    script = """
import logging, os, signal
from assay.neurons.program.logs import log_lines
logger = logging.getLogger("assay")
def say(*_):
    logger.info("signal", extra={"event": "stopping"})
signal.signal(signal.SIGALRM, say)
signal.setitimer(signal.ITIMER_REAL, 2e-3, 2e-3)
with log_lines(as_json=True, quiet=False):
    for n in range(2_000):
        logger.info("line", extra={"event": "trouble"})
    signal.setitimer(signal.ITIMER_REAL, 0)
print("went on")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "went on\n"
