"""A localnet and the programs that run against it, each in its own process, as in terminals."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

ASSAY = str(Path(sys.executable).with_name("assay"))
CHEAT = str(Path(__file__).with_name("cheat.py"))
#: Longest wait for anything, seconds.
PATIENCE_S = 300


class Terminals:
    """A localnet and the programs that run against it. All of them are ended at the end."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.folder = root / "net"
        self._root = root
        self._stack = stack
        self._programs: dict[str, subprocess.Popen[str]] = {}

    def run(self, *arguments: str) -> Any:
        """Run a command to its end and return its JSON document."""
        done = subprocess.run(
            [ASSAY, *arguments, "--localnet", str(self.folder), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"assay {' '.join(arguments)}: {done.stderr}")
        return json.loads(done.stdout)

    def start(self, name: str, *command: str) -> int:
        """Start a program that runs until the end, with its output in a file. Returns its process
        number."""
        with (self._root / f"{name}.log").open("a") as log:
            program = subprocess.Popen(command, stdout=log, stderr=log, text=True)
        self._programs[name] = program
        self._stack.callback(self._stop, program)
        return program.pid

    def _stop(self, program: subprocess.Popen[str]) -> None:
        program.send_signal(signal.SIGTERM)
        try:
            program.wait(30)
        except subprocess.TimeoutExpired:
            program.kill()

    def wait_for(self, what: str, look: Callable[[], Any]) -> Any:
        """Wait until `look` finds something, and return that."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := look()):
            self.require_running(f"; waited in vain for {what}")
            if time.monotonic() > deadline:
                self._give_up(f"waited in vain for {what}")
            time.sleep(0.5)
        return found

    def require_running(self, why: str = "") -> None:
        """Give up if a program has ended."""
        ended = [name for name, program in self._programs.items() if program.poll() is not None]
        if ended:
            self._give_up(f"ended: {', '.join(ended)}{why}")

    def _give_up(self, why: str) -> NoReturn:
        for log in self._root.glob("*.log"):
            print(f"== {log.name}", *log.read_text().splitlines()[-20:], sep="\n")
        raise SystemExit(why)

    def read(self, *parts: str) -> Any:
        """A JSON file below the localnet's folder; an empty value before it exists."""
        file = self.folder.joinpath(*parts)
        return json.loads(file.read_text()) if file.exists() else {}


def make_wallet(terminals: Terminals, name: str) -> str:
    """Make keys, money and a uid. Returns the hotkey's address."""
    made = terminals.run("wallet", "create", "--wallet", name, "--no-password")
    terminals.run("faucet", "--wallet", name)
    terminals.run("register", "--wallet", name, "--yes")
    return str(made["hotkey"])
