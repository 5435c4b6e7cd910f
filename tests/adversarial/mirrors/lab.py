"""A store that returns arbitrary bytes, and the files that it leaves on a disk."""

from pathlib import Path

from assay.artifacts.checkpoints.tensor_table import TABLE_FILE, compute_size
from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import MANIFEST_FILE, MODEL_FILE, SMALL_FILES, digest_tensors
from assay.network.store.base import ObjectStore
from assay.training import GENESIS

SMALL = (MANIFEST_FILE, *SMALL_FILES, TABLE_FILE)
FILES = (MANIFEST_FILE, *SMALL_FILES, MODEL_FILE)
DIGEST = load_checkpoint(GENESIS).digest
MODEL_BYTES = (GENESIS / MODEL_FILE).stat().st_size
TENSORS = sorted(digest_tensors(GENESIS), key=compute_size)
#: Names of tensors in a store; the last one is the largest.
NAMES = [tensor.sha256.hex() for tensor in TENSORS]
#: The one that a single worker takes last.
LAST = sorted(sorted(TENSORS, key=lambda t: t.name), key=compute_size, reverse=True)[-1]
LAST = LAST.sha256.hex()
SIZES = {tensor.sha256.hex(): compute_size(tensor) for tensor in TENSORS}


class Source:
    """An object of a hostile store."""

    def __init__(self, mirror, name, honest):
        self.mirror, self.name, self.honest = mirror, name, honest

    def size(self):
        lie = self.mirror.sizes.get(self.name)
        return self.honest.size() if lie is None else lie()

    def read(self, start, end):
        self.mirror.reads.append((self.name, start))
        data = self.honest.read(start, end)
        lie = self.mirror.lies.get(self.name, self.mirror.lies.get("all"))
        return data if lie is None else lie(data, start)


class Mirror:
    """An honest store with the changes that a test makes: file → size, file → bytes."""

    def __init__(self, store: ObjectStore):
        self.store, self.sizes, self.lies = store, {}, {}
        self.opened, self.reads = set(), []

    @property
    def tensors_read(self):
        return [name for name, _ in self.reads if name in SIZES]

    def open(self, name):
        self.opened.add(name)
        return Source(self, Path(name).name, self.store.open(name))


def flip(data, start):
    return bytes([data[0] ^ 1]) + data[1:]


def require_nothing(root):
    """No checkpoint, and no more on the disk than one."""
    assert not (root / DIGEST.hex()).exists()
    left = [path for path in root.rglob("*") if path.is_file()]
    small = sum((GENESIS / name).stat().st_size for name in FILES)
    assert sum(path.stat().st_size for path in left) <= small + 10_000


def require_whole(root):
    folder = root / DIGEST.hex()
    for name in FILES:
        assert (folder / name).read_bytes() == (GENESIS / name).read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in root.iterdir()] == [DIGEST.hex()]
