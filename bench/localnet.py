"""A subnet on one machine: two honest miners, two cheats, a validator and a trainer, each in its
own process, and `assay localnet`. They run through six windows and until the chain has paid for
them.

All commands are those of docs/localnet.md; the cheats are bench/cheat.py. In addition to the
figures it prints what chain and validator say: each miner's verdict in each window, and its
incentive.
"""

import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

from figures import Figure, report
from processes import Watch, read_processors
from terminals import ASSAY, CHEAT, Terminals, make_wallet

WINDOWS = 6
GROUPS = "8"
HONEST = ("alice", "bob")
#: Wallet → its strategy in the gauntlet.
CHEATS = {"crook": "int4 weights", "thief": "honest for a quarter"}
MINERS = (*HONEST, *CHEATS)
TIME_S, MEMORY_MIB = 360.0, 4_096.0


class Course(Terminals):
    """Six programs, and what they have written."""

    def find_windows(self, first: int) -> list[Any]:
        """The validator's records of the windows, once all exist."""
        numbers = range(first, first + WINDOWS)
        found = [self.read("validator", "verdicts", f"window-{number}.json") for number in numbers]
        return found if all(found) else []

    def find_settlements(self, first: int) -> list[Any]:
        """The validator's records of the windows' settlements, once all of them are on chain."""
        record = self.folder / "validator" / "verdicts"
        found = [json.loads(file.read_text()) for file in record.glob("settlement-*.json")]
        wanted = set(range(first, first + WINDOWS))
        settling = [row for row in found if wanted & set(row["windows"])]
        rows = self.read("validator", "status.json").get("settlements", [])
        stands = {row["epoch"] for row in rows if row["state"] == "confirmed"}
        covered = {window for row in settling for window in row["windows"]}
        return (
            settling
            if wanted <= covered and all(row["epoch_block"] in stands for row in settling)
            else []
        )

    def read_statuses(self) -> list[Any]:
        """The status documents of all six programs, once all exist."""
        found = [self.read(name, "status.json") for name in (*MINERS, "validator", "trainer")]
        return found if all(found) else []

    def read_payments(self, due: set[int]) -> dict[str, dict[int, Any]]:
        """Miner → settlement → the chain's payment for it, once all miners have seen all due
        ones."""
        found = {}
        for name in MINERS:
            windows = self.read(name, "status.json")["windows"]
            payments = {w["payment"]["settlement"]: w["payment"] for w in windows if w["payment"]}
            found[name] = {k: payments[k] for k in sorted(due & payments.keys())}
        return found if all(found[name].keys() >= due for name in HONEST) else {}


def start_programs(terminals: Terminals) -> dict[str, int]:
    """Start all six programs. Name → process number."""
    at = ("--localnet", str(terminals.folder))

    def name_miner(name: str) -> tuple[str, ...]:
        return (*at, "--wallet", name, "--dir", str(terminals.folder / name), "--groups", GROUPS)

    commands = {
        **{name: (ASSAY, "mine", *name_miner(name)) for name in HONEST},
        **{name: (sys.executable, CHEAT, how, *name_miner(name)) for name, how in CHEATS.items()},
        "validator": (ASSAY, "validate", *at, "--wallet", "validator"),
        "trainer": (ASSAY, "train", *at),
    }
    return {name: terminals.start(name, *command) for name, command in commands.items()}


def print_story(
    hotkeys: dict[str, str], windows: list[Any], payments: dict[str, dict[int, Any]], rows: Any
) -> dict[str, list[str]]:
    """Print each miner's verdicts and pay. Returns its verdicts by name."""
    reasons = {}
    for name in MINERS:
        verdicts = [
            next((v["reason"] for v in w["verdicts"] if v["hotkey"] == hotkeys[name]), "none")
            for w in windows
        ]
        reasons[name] = verdicts
        (incentive,) = (row["incentive"] for row in rows if row["hotkey"] == hotkeys[name])
        paid = ", ".join(
            f"{payment['incentive'] / 65_535:.3f} at block {payment['block']}"
            for payment in payments[name].values()
        )
        print(f"{name} ({CHEATS.get(name, 'honest')}): incentive {incentive / 65_535:.3f} now")
        print(f"  windows {windows[0]['window']} to {windows[-1]['window']}: {', '.join(verdicts)}")
        print(f"  incentive for each settlement: {paid}")
    return reasons


def main() -> None:
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        root = stack.enter_context(tempfile.TemporaryDirectory(prefix="assay-"))  # a short path
        terminals = Course(Path(root), stack)
        began = perf_counter()
        chain = terminals.start("localnet", ASSAY, "localnet", "--dir", f"{root}/net", "--port=0")
        terminals.wait_for("the localnet", lambda: terminals.read("localnet.json").get("pids"))
        up = perf_counter()
        hotkeys = {name: make_wallet(terminals, name) for name in (*MINERS, "validator")}
        terminals.run("stake", "100", "--wallet", "validator", "--yes", "--any-price")
        started = perf_counter()
        programs = start_programs(terminals)
        watches = [Watch(programs), Watch({"localnet": chain})]
        for watch in watches:
            stack.callback(watch.close)
        statuses = terminals.wait_for("six programs", terminals.read_statuses)
        running = perf_counter()
        first = 1 + max(status["window_now"] for status in statuses)
        windows = terminals.wait_for("verdicts", lambda: terminals.find_windows(first))
        settlements = terminals.wait_for("weights", lambda: terminals.find_settlements(first))
        due = {row["epoch_block"] for row in settlements}
        payments = terminals.wait_for("pay", lambda: terminals.read_payments(due))
        paid = perf_counter()
        processors = read_processors(programs | {"localnet": chain})
        for watch in watches:
            watch.close()
        rows = terminals.run("metagraph")["neurons"]
        steps = len(terminals.read("trainer", "status.json")["steps"])
    print(f"load before it began: {load:.2f}")
    reasons = print_story(hotkeys, windows, payments, rows)
    six, alone = watches
    figures = [
        Figure(
            "six windows, from an empty folder until they are paid", paid - began, "s", bound=TIME_S
        ),
        Figure("six windows: the start of the localnet", up - began, "s"),
        Figure("six windows: wallets, uids and stake", started - up, "s"),
        Figure("six windows: the start of the six programs", running - started, "s"),
        Figure("memory of the six, shared pages once (PSS)", six.pss, "MiB", bound=MEMORY_MIB),
        Figure("memory of the six, shared pages in each (RSS)", six.rss, "MiB"),
        Figure("memory of the localnet (PSS)", alone.pss, "MiB"),
        *(Figure(f"memory of {name} (PSS)", size, "MiB") for name, size in six.pss_of.items()),
        *(Figure(f"CPU time, {name}", seconds, "s") for name, seconds in processors.items()),
        Figure(
            "CPU time of all, as a share of each core",
            sum(processors.values()) / (paid - started) / (os.cpu_count() or 1),
            "",
        ),
        Figure(
            "windows of honest miners not accepted",
            sum(r != "ACCEPTED" for name in HONEST for r in reasons[name]),
            "",
            bound=0,
        ),
        Figure(
            "windows of cheats accepted",
            sum(r == "ACCEPTED" for name in CHEATS for r in reasons[name]),
            "",
            bound=0,
        ),
        Figure(
            "incentive of cheats",
            sum(p["incentive"] for name in CHEATS for p in payments[name].values()) / 65_535,
            "",
            bound=0,
        ),
        Figure("steps of the trainer", steps, ""),
    ]
    report("Six programs on one machine, a block every second", figures, 1)


if __name__ == "__main__":
    main()
