"""btcli in a home of its own: typed commands, and their output."""

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.chain.clients.results import ERROR_MARK, FlowError

#: Longest wait for one command, seconds.
PATIENCE_S = 240
#: After an error on some runtimes it never ends: the seconds that it may continue.
_AFTER_ERROR_S = 5


@dataclass(frozen=True, slots=True)
class Btcli:
    """Runs commands of btcli against one endpoint; one that fails is a `FlowError`.

    Attributes:
        program: the installed `btcli`.
        folder: its home.
        wallets: the folder of wallets.
        speaks_json: whether commands are asked for JSON at all. btcli prints either a JSON document
            or the reason why there is none, and may hang where it prints neither: a command that is
            known to fail is best heard at once.
    """

    program: Path
    endpoint: str
    folder: Path
    wallets: Path
    speaks_json: bool = True

    def create_wallet(self, name: str) -> str:
        """Make a wallet without a password. Returns the command's output."""
        words = ("wallet", "create", *self.name(name), "--n-words", "12", "--no-use-password")
        return self._run(words)

    def ask(self, *words: str) -> Any:
        """A command's JSON document."""
        command = (*words, "--network", self.endpoint)
        if not self.speaks_json:
            raise FlowError(self._hear(command))
        printed = self._run((*command, "--json-output"))
        start = min((at for at in (printed.find("{"), printed.find("[")) if at >= 0), default=-1)
        if start < 0:
            raise FlowError(self._hear(command))
        found = json.loads(printed[start:])
        if isinstance(found, dict) and ("error" in found or found.get("success") is False):
            raise FlowError(printed[start:])
        return found

    def send(self, wallet: str, *words: str) -> Any:
        """The JSON document of a command that signs, after every question was answered with yes."""
        return self.ask(*words, *self.name(wallet), "--no-prompt")

    def say(self, *words: str) -> str:
        """The output of a command for a person."""
        printed = self._hear((*words, "--network", self.endpoint))
        if ERROR_MARK in printed:
            raise FlowError(printed)
        return printed

    def name(self, wallet: str) -> tuple[str, ...]:
        """The options that name a wallet."""
        at = ("--wallet-path", str(self.wallets))
        return ("--wallet-name", wallet, "--hotkey", "default", *at)

    def _run(self, words: Sequence[str]) -> str:
        try:
            done = subprocess.run(
                [self.program, *words],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=PATIENCE_S,
                check=False,
                env=self._environment,
            )
        except subprocess.TimeoutExpired as error:
            raise FlowError(f"btcli {words[0]} {words[1]} did not end: {error.stdout}") from error
        if done.returncode:
            raise FlowError(done.stdout + done.stderr)
        return done.stdout

    def _hear(self, words: Sequence[str]) -> str:
        """The output of a command until it ends, or until it has reported an error and
        continues."""
        with (
            tempfile.NamedTemporaryFile() as output,
            subprocess.Popen(
                [self.program, *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment,
            ) as process,
        ):
            heard, end = "", time.monotonic() + PATIENCE_S
            while process.poll() is None and time.monotonic() < end:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(1)
                had_error = ERROR_MARK in heard
                heard = Path(output.name).read_text(errors="replace")
                if ERROR_MARK in heard and not had_error:
                    end = min(end, time.monotonic() + _AFTER_ERROR_S)
            process.kill()
            return heard

    @property
    def _environment(self) -> dict[str, str]:
        """A home of its own, and lines so wide that no value is broken in two."""
        return {
            "HOME": str(self.folder),
            "PATH": "/usr/bin:/bin",
            "COLUMNS": "10000",
            "NO_COLOR": "1",
        }
