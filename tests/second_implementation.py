"""All vectors against the implementation in another language: once for all processes of a run."""

import fcntl
import json
import shutil
import subprocess
from pathlib import Path

VECTORS = Path(__file__).parent / "vectors"
NODE = shutil.which("node")


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    """What it says of the vectors of a folder."""
    command = [str(NODE), str(VECTORS / "second" / "check.js"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def check_once(place: Path) -> subprocess.CompletedProcess[str]:
    """The same of the repository's vectors, from the folder `place` if another process has asked:
    running programs in the image takes seconds of CPU time."""
    place.mkdir(exist_ok=True)
    said = place / "said.json"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            done = check(VECTORS)
            said.write_text(json.dumps([done.returncode, done.stdout, done.stderr]))
    return subprocess.CompletedProcess(["check.js"], *json.loads(said.read_text()))
