"""The modules that each command has loaded at its first output: none that takes seconds.

One process loads the modules that all commands share. Each command runs in a fork of it, until it
says what it waits for, or to its end if it waits for nothing.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from assay.cli.app import app

#: Libraries that take a tenth of a second and more, and some that take seconds.
WATCHED = (
    "bittensor",
    "httpx2",
    "huggingface_hub",
    "matplotlib",
    "numba",
    "numpy",
    "pyarrow",
    "ray",
    "structlog",
    "torch",
    "transformers",
    "uvicorn",
    "web3",
    "websockets",
)
ADDRESS = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
CHAIN = "--network ws://127.0.0.1:9 --netuid 3"
OWN = "--wallet //Alice"
STORE = "--store file://STORE"
SAYS, ENDS = "says what it waits for", "ends"
#: Command → the end of its first part, and the modules loaded by then.
EXPECTED: dict[str, tuple[str, str]] = {
    "demo --out NEW": (SAYS, ""),
    "demo --out RUN": (ENDS, ""),
    "verify NONE": (ENDS, ""),
    "verify FILE --context FILE --model STORE": (ENDS, ""),
    "convert NONE": (ENDS, ""),
    "convert FILE": (ENDS, "numpy pyarrow"),
    "adopt NONE --out NEW": (ENDS, ""),
    "adopt STORE --out FILE": (ENDS, ""),
    "adopt STORE --out NEW": (SAYS, ""),
    "calibrate --out NEW": (ENDS, ""),
    "calibrate --model STORE --out NEW": (SAYS, ""),
    "contest NONE STORE --env sat": (ENDS, ""),
    "contest STORE STORE --env sat": (SAYS, ""),
    "eval NONE --suite FILE": (ENDS, ""),
    "eval STORE --suite FILE --out NEW": (ENDS, "numpy"),
    "plan nonsense": (ENDS, "numpy"),
    "gauntlet": (SAYS, ""),
    "gauntlet --out RUN": (ENDS, ""),
    "status --dir RUN": (ENDS, ""),
    "status --dir NONE": (ENDS, ""),
    "status --record NONE": (ENDS, ""),
    "localnet --dir FILE": (ENDS, "structlog"),
    "localnet --dir NEW": (SAYS, "structlog uvicorn websockets"),
    f"faucet {OWN} --network ws://127.0.0.1:9": (SAYS, ""),
    f"faucet {OWN}": (ENDS, ""),
    f"doctor {CHAIN}": (SAYS, ""),
    "mine --netuid 3 --wallet nosuch": (ENDS, "websockets"),
    f"mine {OWN}": (ENDS, "websockets"),
    f"mine {CHAIN} {OWN} {STORE} --dir NEW": (SAYS, "structlog websockets"),
    "validate --netuid 3 --wallet nosuch": (ENDS, ""),
    f"validate {CHAIN} {OWN} --dir NEW": (SAYS, "structlog"),
    "train --netuid 3 --wallet nosuch": (ENDS, "websockets"),
    f"train {CHAIN} {OWN} {STORE}": (SAYS, "websockets"),
    f"train {CHAIN} {OWN} {STORE} --dir FILE": (ENDS, "websockets"),
    "train verify-step NONE": (ENDS, ""),
    "train verify-step FILE": (SAYS, ""),
    "train verify-step FILE --offline STORE": (ENDS, ""),
    "train warm-start STORE": (ENDS, ""),
    "train warm-start NONE --recipe qwen2.5-0.5b-gsm --out NEW": (ENDS, "numpy"),
    "train warm-start STORE --recipe qwen2.5-0.5b-gsm --out NEW": (SAYS, "numpy"),
    "train dpo STORE STORE": (ENDS, ""),
    "train dpo STORE NONE --recipe qwen2.5-0.5b-gsm --out NEW": (ENDS, "numpy"),
    "train dpo STORE STORE --recipe qwen2.5-0.5b-gsm --out NEW": (SAYS, "numpy"),
    "train distill STORE STORE": (ENDS, ""),
    "train distill STORE NONE --recipe qwen2.5-0.5b-gsm --out NEW": (ENDS, "numpy"),
    "train distill STORE STORE --recipe qwen2.5-0.5b-gsm --out NEW": (SAYS, "numpy"),
    f"audit round {CHAIN}": (SAYS, ""),
    "train trace-step FILE": (SAYS, ""),
    "train bisect A B": (ENDS, ""),
    "train bisect STORE STORE": (SAYS, ""),
    "train bisect STORE https://127.0.0.1:9": (SAYS, ""),
    f"register {CHAIN} {OWN}": (SAYS, ""),
    f"stake 1 {CHAIN} {OWN}": (SAYS, ""),
    "metagraph": (ENDS, ""),
    f"metagraph {CHAIN}": (SAYS, ""),
    "wallet create --wallet-path NEW": (ENDS, "websockets"),
    "wallet list --wallet-path NEW": (ENDS, "bittensor websockets"),
    f"wallet show {CHAIN} {OWN}": (SAYS, ""),
    f"weights show {CHAIN}": (SAYS, ""),
    "train watch --dir NONE": (ENDS, ""),
    "train proposals --dir NONE": (ENDS, ""),
    f"weights set 0=1 {CHAIN} {OWN}": (SAYS, ""),
    f"subnet create --network ws://127.0.0.1:9 {OWN}": (SAYS, ""),
    f"subnet start {CHAIN} {OWN}": (SAYS, ""),
    f"subnet publish {CHAIN} {OWN} {STORE} --trainer SS58": (SAYS, "websockets"),
    f"subnet amend {CHAIN} {OWN} {STORE} --withdraw": (SAYS, "websockets"),
    f"subnet amend {CHAIN} {OWN} {STORE} --changes NONE": (ENDS, "numpy websockets"),
    f"subnet show {CHAIN}": (SAYS, ""),
    f"ledger key {OWN}": (ENDS, "websockets"),
    f"ledger deploy {OWN} --evm http://127.0.0.1:9": (SAYS, ""),
    f"ledger bind {CHAIN} {OWN}": (SAYS, ""),
    f"ledger show SS58 1 {CHAIN}": (SAYS, ""),
    f"ledger verify-score FILE --miner SS58 {CHAIN}": (SAYS, ""),
    "ledger status --dir NONE": (ENDS, "websockets"),
    "explain --window 3 --hotkey SS58": (ENDS, ""),
    f"explain --window 3 --hotkey SS58 {CHAIN}": (SAYS, ""),
    "explorer --dir NONE": (SAYS, ""),
    "mcp --dir NONE": (SAYS, ""),
    "tools": (ENDS, ""),
    "audit --offline NONE": (ENDS, ""),
    "audit --offline STORE": (ENDS, ""),
    "audit --offline BUNDLE": (SAYS, ""),
    f"audit {CHAIN}": (SAYS, ""),
    f"audit --windows 5..x {CHAIN}": (ENDS, ""),
    f"audit export --out NEW {CHAIN}": (SAYS, ""),
    f"audit compare {CHAIN}": (SAYS, ""),
    "export --out NEW": (ENDS, ""),
    "export --out NEW --dir STORE": (ENDS, ""),
    "export --out NEW --dir TRAINED": (SAYS, ""),
    "publish-hub --dir NEW": (ENDS, ""),
    "publish-hub --model o/n --dir STORE": (ENDS, "httpx2 huggingface_hub"),
    "sandbox prepare --module NONE": (ENDS, ""),
    "env list": (ENDS, "numpy"),
    "env show sat": (ENDS, "numpy"),
    "env sample sat": (ENDS, "numpy"),
    "env score sat --answer 1": (ENDS, "numpy"),
    "env new STORE": (ENDS, ""),
    "env look FILE": (ENDS, "numpy"),
    "env vet FILE": (ENDS, "numpy structlog"),
    "recipe new NONE": (ENDS, ""),
    "recipe new arithmetic --out FILE": (ENDS, ""),
    "recipe new arithmetic --out NEW": (SAYS, ""),
    "env export nonsense --verifiers NEW": (ENDS, "numpy"),
}

PROGRAM = """
import contextlib, gc, io, json, os, sys
import assay.cli.console  # and what every command shares
from assay.cli import settings_source, start
from assay.cli.app import app

class Said(BaseException):
    pass

def say(*words):
    raise Said

start.announce = settings_source.announce = say
watched, commands = json.load(sys.stdin)
gc.disable()
gc.freeze()
assert not set(watched) & sys.modules.keys(), sys.modules.keys()
for line, words in commands:
    if os.fork():
        assert os.wait()[1] == 0
        continue
    end, told = "ends", io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            app(words, prog_name="assay")
        except Said:
            end = "says what it waits for"
        except SystemExit:
            assert "defect" not in told.getvalue(), told.getvalue()
    loaded = " ".join(sorted(set(watched) & sys.modules.keys()))
    print(json.dumps([line, [end, loaded], told.getvalue()]), flush=True)
    os._exit(0)
"""


def list_commands(command: Any, path: str = "") -> set[str]:
    """The paths of all commands below."""
    below = getattr(command, "commands", {})
    found = {path} if not below or command.invoke_without_command else set()
    for name, each in below.items():
        found |= list_commands(each, f"{path} {name}".strip())
    return found - {""}


def make_places(folder: Path) -> dict[str, Path]:
    """Name in a line → its meaning: files and folders that exist or not, an address."""
    file, store, run, bundle = (folder / name for name in ("file", "store", "run", "bundle"))
    file.write_text("nothing")
    store.mkdir()
    run.mkdir()
    bundle.mkdir()
    (bundle / "about.json").write_text("{}")
    (run / "trained" / "steps").mkdir(parents=True)
    (run / "trained" / "steps" / "step-0.json").write_text("{}")
    (run / "status.json").write_text("{}")
    return {
        "FILE": file,
        "STORE": store,
        "RUN": run,
        "BUNDLE": bundle,
        "TRAINED": run / "trained",
        "NONE": folder / "none",
        "SS58": Path(ADDRESS),
    }


def fill_places(line: str, places: dict[str, Path], new: Path) -> list[str]:
    """The words of a line of the table."""
    for name, place in (*places.items(), ("NEW", new)):
        line = line.replace(name, str(place))
    return line.split()


def pick_some() -> list[str]:
    """The first line of every sixth command in the table: each imports for a tenth of a second."""
    known = list_commands(typer.main.get_command(app))
    firsts: dict[str, str] = {}
    for line in EXPECTED:
        words = line.split()
        command = next(c for n in (2, 1) if (c := " ".join(words[:n])) in known)
        firsts.setdefault(command, line)
    return list(firsts.values())[::6]


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_no_command_loads_for_seconds_without_a_word(short_folder: Path, every: bool) -> None:
    short_folder.mkdir()
    places = make_places(short_folder)
    lines = list(EXPECTED) if every else pick_some()
    commands = [
        (line, fill_places(line, places, short_folder / f"new-{number}"))
        for number, line in enumerate(lines)
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([WATCHED, commands]),
        capture_output=True,
        text=True,
        timeout=240,
        cwd=short_folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line for line, _, _ in found] == lines
    other = [each for each in found if tuple(each[1]) != EXPECTED[each[0]]]
    assert not other, other


def test_every_command_is_in_the_table() -> None:
    tried = {
        path
        for path in list_commands(typer.main.get_command(app))
        if any(line == path or line.startswith(f"{path} ") for line in EXPECTED)
    }
    assert tried == list_commands(typer.main.get_command(app))
