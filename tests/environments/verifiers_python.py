"""verifiers 0.4 itself, in a process of its own: its imports take seconds, and stay there."""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HAS_VERIFIERS = find_spec("verifiers") is not None
NO_VERIFIERS = "verifiers is not installed: `make nightly` does, or pip install -e '.[verifiers]'"
_PROGRAM = Path(__file__).with_name("score_with_verifiers.py")


def ask_verifiers(
    taskset: str,
    place: Path,
    replies: Sequence[tuple[int, str | list[str]]],
    config: dict[str, Any] | None = None,
    rows: list[dict[str, Any]] | None = None,
) -> tuple[list[dict[str, list[float]]], list[str]]:
    """The scores of verifiers' own code for replies to tasks of a package in the folder `place`, or
    for talks: name → (score, weight) of each, and the tasks' prompts."""
    job = {
        "taskset": taskset,
        "paths": [str(place)],
        "config": config or {},
        "rows": rows,
        "replies": list(replies),
    }
    done = subprocess.run(
        [sys.executable, str(_PROGRAM)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    said = json.loads(done.stdout)
    return said["scores"], said["prompts"]
