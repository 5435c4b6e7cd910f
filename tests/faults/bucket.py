"""The stage's store: a bucket of a real S3-speaking server, and its public address."""

from pathlib import Path
from typing import Any

# what each forked process would load for itself
import boto3  # noqa: F401
import moto.iam.responses
import moto.s3.responses  # noqa: F401

from assay.network.store.bucket import BucketStore
from tests.s3 import BUCKET, PREFIX, REGION, S3

#: Largest object of a run, bytes.
_OBJECT_MAX = 64 << 20

__all__ = ["BUCKET", "PREFIX", "REGION", "run_bucket"]


def run_bucket(pipe: Any) -> None:
    """Serves a bucket until the stage is over: fills it from a folder, or a folder from it."""
    with S3() as s3:
        pipe.send((s3.endpoint, s3.front.url, s3.key_id, s3.secret))
        store = s3.open()
        while True:
            what, folder = pipe.recv()
            _fill(store, folder) if what == "fill" else _keep(store, folder)
            pipe.send("done")


def _fill(store: BucketStore, folder: Path) -> None:
    for name in store.list():
        store.delete(name)
    for path in folder.rglob("*"):
        if path.is_file():
            store.put(str(path.relative_to(folder)), path.read_bytes())


def _keep(store: BucketStore, folder: Path) -> None:
    for name in store.list():
        data = store.get(name, _OBJECT_MAX)
        assert data is not None
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
