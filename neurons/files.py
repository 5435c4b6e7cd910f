"""Files that are whole or not there: written beside their place, then renamed."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_file(path: Path, data: bytes) -> None:
    """Writes atomically; a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)  # mkstemp's 0600 would hide public files from other users
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)  # nothing is there if all went well


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON atomically."""
    write_file(path, (json.dumps(value, indent=1) + "\n").encode())
