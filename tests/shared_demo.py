"""Plays the demo of all tests of a run, once: `python tests/shared_demo.py FOLDER`.

A second caller waits for the first. It runs in a separate process, because it begins before anybody
needs it, and some tests count a test run's threads.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ASSAY = Path(sys.executable).with_name("assay")
#: As small as a demo can be that learns.
SIZES = {"WINDOWS": "6", "GROUPS": "18", "PROBLEMS": "600"}
#: File in the folder after the demo is played: its folder, seed, summary and standard error.
SAID = "said.json"


def main(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and the demo ends with it
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for seed in ("assay", *"1234"):
            if (folder / SAID).exists():
                return
            document = _play(folder / f"a run of {seed}", seed)
            if not _is_cheat_accepted(document["summary"]):
                (folder / "said.new").write_text(json.dumps(document))
                (folder / "said.new").rename(folder / SAID)


def _is_cheat_accepted(summary):
    verdicts = [verdict for window in summary["windows"] for verdict in window["verdicts"]]
    return any(v["role"] == "cheat" and v["reason"] == "ACCEPTED" for v in verdicts)


def _play(out, seed):
    with socket.socket() as usual:
        with suppress(OSError):  # somebody else's chain serves as well
            usual.bind(("127.0.0.1", 9_944))
        done = subprocess.run(
            [ASSAY, "demo", "--fast", "--seed", seed, "--out", out, "--json"],
            capture_output=True,
            text=True,
            timeout=500,
            env={**os.environ, **{f"ASSAY_DEMO__{name}": size for name, size in SIZES.items()}},  # noqa: TID251 - a child's
        )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    return {"folder": str(out), "seed": seed, "summary": summary, "stderr": done.stderr}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
