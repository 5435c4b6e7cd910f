"""Miner and validator as programs of their own on machines whose clocks are an hour off, either
way, and are stepped to the other side, and back, while the programs run.

A changed clock of the C library (`stepped.c`) replaces the machine's. libfaketime 0.9.10 does not
work: sleeps fail with EINVAL if the monotonic clock is left alone, and waits never end if it is
not.
"""

import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.commands import ASSAY
from tests.integration.test_localnet import Terminal, make_wallet

HOUR_S = 3_600
GROUPS, WINDOWS = 2, 2
#: Hours that the miner's and the validator's clocks are off by, in turn.
STAGES = ((1, -1), (-1, 1), (0, 0))
PROGRAMS = ("mine", "validate")


class Clocks:
    """Clocks of programs, by command, each in a file that its program has before its eyes."""

    def __init__(self, root: Path) -> None:
        self.library = root / "stepped.so"
        source = Path(__file__).with_name("stepped.c")
        subprocess.run(
            ["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", self.library, source],
            check=True,
            timeout=60,
        )
        self._files = {name: root / f"{name}.clock" for name in PROGRAMS}
        for name in PROGRAMS:
            self._files[name].write_bytes(bytes(8))

    def set(self, name: str, hours: int) -> None:
        with self._files[name].open("r+b") as file:
            file.write((hours * HOUR_S).to_bytes(8, sys.byteorder, signed=True))

    def enter(self, name: str) -> list[str]:
        return ["env", f"LD_PRELOAD={self.library}", f"STEPPED_CLOCK={self._files[name]}"]


class SteppedTerminal(Terminal):
    def __init__(self, root: Path, stack: ExitStack, clocks: Clocks) -> None:
        super().__init__(root, stack)
        self.clocks = clocks

    def launch(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        before = self.clocks.enter(arguments[0]) if arguments[0] in PROGRAMS else []
        return subprocess.Popen([*before, ASSAY, *arguments], text=True, **options)


@pytest.mark.nightly
def test_machines_whose_clocks_are_stepped_come_to_the_same() -> None:
    """Every window that the miner took part in is accepted in full, none is abstained from, and the
    settlements are on chain, as with right clocks. Both programs report their clock's fault,
    continue, report its end, and end in good order."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to make a clock with")
    with TemporaryDirectory(prefix="assay-") as root, ExitStack() as stack:
        clocks = Clocks(Path(root))
        clocks.set("mine", 1)
        ahead = [*clocks.enter("mine"), sys.executable, "-c", "import time; print(time.time())"]
        said = subprocess.run(ahead, capture_output=True, text=True, check=True, timeout=60)
        assert abs(float(said.stdout) - time.time() - HOUR_S) < HOUR_S / 10
        terminal = SteppedTerminal(Path(root), stack, clocks)
        terminal.start_localnet()
        make_wallet(terminal, "miner")
        make_wallet(terminal, "validator")
        terminal.run("stake", "100", "--wallet", "validator", "--yes", "--any-price")
        at = ("--localnet", str(terminal.folder), "--threads", "1")
        programs: list[subprocess.Popen[str]] = []
        rows: list[dict[str, Any]] = []
        for hours in STAGES:
            for name, off in zip(PROGRAMS, hours, strict=True):
                clocks.set(name, off)
            if not programs:
                programs.append(terminal.start("validate", *at, "--wallet", "validator"))
                programs.append(
                    terminal.start("mine", *at, "--wallet", "miner", "--groups", str(GROUPS))
                )
            due = len(rows) + WINDOWS

            def find_paid(due: int = due) -> Any:
                assert [program.poll() for program in programs] == [None, None]
                found = [r for r in terminal.look("miner").get("windows", []) if r["payment"]]
                return found if len(found) >= due and terminal.list_confirmed() else None

            rows = terminal.wait_for("paid windows", find_paid)
        judged = {row["window"]: row for row in terminal.look("validator")["windows"]}
        for program in programs:
            program.send_signal(signal.SIGINT)
            assert program.wait(60) == 0
        logs = {name: "\n".join(terminal.read_log(name)) for name in PROGRAMS}
    whole = [row for row in rows if row["groups"]["done"] == GROUPS]
    assert len(whole) >= len(rows) - 1  # it may have begun in the middle of one
    assert {row["verdict"]["reason"] for row in whole} == {"ACCEPTED"}
    for row in whole:
        found = judged.get(row["window"])
        if found is not None:  # the oldest are no longer shown
            assert found["missing"] is None
            assert [v["reason"] for v in found["verdicts"]].count("ACCEPTED") == 1
    for log in logs.values():
        assert "check the clock" in log
        assert "clock is right again" in log
        assert "a defect in assay" not in log
