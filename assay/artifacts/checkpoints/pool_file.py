"""The further file of a checkpoint that has the problems that the network wrote itself."""

from collections.abc import Sequence
from hashlib import sha256

from assay.inference.folder import FILES_FOLDER
from assay.protocol.manifest import POOL_FILE, FurtherFile

#: Its path in a model folder.
POOL_PATH = f"{FILES_FOLDER}/{POOL_FILE}"


def name_pool(files: Sequence[FurtherFile], pool: bytes) -> tuple[FurtherFile, ...]:
    """The further files of a child of a checkpoint that has `files`: the same, with its own pool in
    place of its parent's. Of a pool without a piece, no bytes, there is no file."""
    others = [file for file in files if file.name != POOL_FILE]
    if pool:
        others.append(FurtherFile(POOL_FILE, sha256(pool).digest(), len(pool)))
    return tuple(sorted(others, key=lambda file: file.name))
