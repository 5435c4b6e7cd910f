"""btcli in a home of its own: what is typed, and what it prints."""

import json
import subprocess
from pathlib import Path
from typing import Any

#: Longest wait for one command, seconds.
PATIENCE_S = 300


class Btcli:
    """Runs commands of btcli against one endpoint.

    Args:
        program: the installed `btcli`.
        folder: its home; wallets are in it.
    """

    def __init__(self, program: Path, endpoint: str, folder: Path) -> None:
        self._program = program
        self._endpoint = endpoint
        self._folder = folder

    def create_wallet(self, name: str, uri: str | None = None) -> str:
        """A wallet without a password; with a URI its coldkey is that development key. The
        coldkey's address."""
        keys = ("--uri", uri) if uri else ("--n-words", "12")
        words = ("wallet", "create", "--wallet-name", name, "--hotkey", "default", *keys)
        self._run(*words, "--wallet-path", self._wallets, "--no-use-password")
        return self.read_address(name, "coldkeypub.txt")

    def read_address(self, wallet: str, file: str) -> str:
        """The SS58 address in a file of a wallet."""
        found: str = json.loads((self._folder / "wallets" / wallet / file).read_text())[
            "ss58Address"
        ]
        return found

    def ask(self, *words: str) -> Any:
        """A command's JSON document; a command that fails, or prints none, fails the test."""
        printed = self._run(*words, "--network", self._endpoint, "--json-output")
        start = min((at for at in (printed.find("{"), printed.find("[")) if at >= 0), default=-1)
        assert start >= 0, f"btcli {' '.join(words)} printed no JSON: {printed}"
        return json.loads(printed[start:], strict=False)

    def send(self, wallet: str, *words: str) -> Any:
        """The JSON document of a command that signs, after every question was answered with yes."""
        return self.ask(*words, *self.name(wallet), "--no-prompt")

    def say(self, *words: str) -> str:
        """What a command prints for a person."""
        return self._run(*words, "--network", self._endpoint)

    def name(self, wallet: str) -> tuple[str, ...]:
        """The options that name a wallet."""
        at = ("--wallet-path", self._wallets)
        return ("--wallet-name", wallet, "--hotkey", "default", *at)

    @property
    def _wallets(self) -> str:
        return str(self._folder / "wallets")

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [self._program, *words],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
            check=False,
            env={
                "HOME": str(self._folder),
                "PATH": "/usr/bin:/bin",
                "COLUMNS": "200",
                "NO_COLOR": "1",
            },
        )
        assert done.returncode == 0, f"btcli {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout
