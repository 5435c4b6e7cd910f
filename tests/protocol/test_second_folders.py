"""Checkpoints whose bytes all have their digests, opened by the JavaScript: a verdict on each."""

import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from assay.inference.folder import digest_tokenizer
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import FurtherFile
from tests.hostile_folders import CORE, SETTINGS, change_manifest
from tests.small_genesis import make_small_genesis

VECTORS = Path(__file__).parents[1] / "vectors"
NODE = shutil.which("node")
#: Opens folders under digests, and says of each what makes it unusable.
OPEN = """
const { openCheckpoint } = require(process.argv[1]), { parse } = require(process.argv[2]);
const { parameters } = parse(require('node:fs').readFileSync(process.argv[3], 'utf8'));
const open = ([folder, digest]) => openCheckpoint(folder, digest, parameters, null).flaw;
const flaws = JSON.parse(process.argv[4]).map(open);
console.log(JSON.stringify(flaws));
"""

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def write(folder: Path, template: str | None, named: str | None, size: int = 5) -> str:
    """A checkpoint with a template, a manifest that names another one's digest, and a further file
    that it gives so many bytes. Returns its digest."""
    make_small_genesis(folder)
    settings = json.loads((folder / SETTINGS).read_text()) | {"chat_template": template}
    (folder / SETTINGS).write_text(json.dumps(settings))
    (folder / "files").mkdir()
    (folder / "files/notes").write_bytes(b"notes")
    return change_manifest(
        folder,
        tokenizer=digest_tokenizer(folder),
        chat_template=hash_fields(
            Domain.CHAT_TEMPLATE, *([] if named is None else [named.encode()])
        ),
        files=(FurtherFile("notes", sha256(b"notes").digest(), size),),
    ).hex()


def write_marks(folder: Path) -> str:
    """A checkpoint whose tokenizer.json has too many bytes that stand before values."""
    make_small_genesis(folder)
    core = json.loads((folder / CORE).read_text()) | {"padding": "," * (3 << 20)}
    (folder / CORE).write_text(json.dumps(core))
    return change_manifest(folder, tokenizer=digest_tokenizer(folder)).hex()


def test_the_second_implementation_says_why_it_is_unusable(tmp_path: Path) -> None:
    folders = [
        (tmp_path / str(number), write(tmp_path / str(number), *case))
        for number, case in enumerate(
            [
                (None, None),
                ("", None),
                ("", ""),
                ("{{ messages[0].content }}", "x"),
                ("{{ messages[0].content }}", None),
                (None, "x"),
                (None, None, 4),
            ]
        )
    ]
    folders.append((tmp_path / "marks", write_marks(tmp_path / "marks")))
    second = VECTORS / "second"
    paths = [
        str(path) for path in (second / "model.js", second / "core.js", VECTORS / "parameters.json")
    ]
    given = json.dumps([[str(folder), digest] for folder, digest in folders])
    done = subprocess.run(
        [str(NODE), "-e", OPEN, *paths, given],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    template = "a chat template that is not its files'"
    files, size = "further files that none may name", "a tokenizer that is too large"
    wanted = [None, None, template, template, template, template, files, size]
    assert json.loads(done.stdout) == wanted
