"""Files of problems that a network's environment names: published by its owner, fetched by digest.

A digest names the bytes, so the store is not trusted. What is fetched is data or an archive for the
sandbox; nothing of it runs here.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from assay.artifacts.store_objects import (
    UnavailableError,
    make_problems_name,
    put_object,
    read_parts,
)
from assay.environments.problem_file import (
    FILE_MAX,
    ProblemFileError,
    add_problem_files,
    find_file,
    list_needed_files,
)
from assay.network.files import write_file
from assay.network.store.base import ObjectStore
from assay.protocol.parameters import Parameters

#: Seconds that a store may take for a part. Tuning.
_PATIENCE = 120.0


def publish_all_problems(store: ObjectStore, parameters: Parameters) -> None:
    """Put the files that a network's environments need, the gate's included, where their digests
    say, unless they are there.

    Raises:
        ProblemFileError: one is not on this machine. StoreError: the store cannot be read or
            written.
    """
    for digest, family in _list_needed(parameters).items():
        _, data = find_file(digest, family)
        put_object(store, make_problems_name(digest), bytes.fromhex(digest), memoryview(data))


def fetch_all_problems(
    open_store: Callable[[], ObjectStore], folder: Path, parameters: Parameters
) -> None:
    """Get the files that a network's environments need, the gate's included, and this process does
    not find, and find them from now on.

    Args:
        open_store: the owner's; called only if a file is missing.
        folder: keeps what is fetched.

    Raises:
        UnavailableError: the store has no such file, or another. StoreError: it cannot be read.
        OSError: the folder cannot be written.
    """
    for digest, family in _list_needed(parameters).items():
        file = folder / digest
        if file.is_file():  # of an earlier run
            add_problem_files([file])
        try:
            find_file(digest, family)
        except ProblemFileError:
            write_file(file, _read_object(open_store(), digest))
            add_problem_files([file])


def _list_needed(parameters: Parameters) -> dict[str, str]:
    """Digest → family."""
    needed: dict[str, str] = {}
    for choice in (parameters.environment, *parameters.gate.environment):
        needed |= list_needed_files(choice.name, (setting.name for setting in choice.settings))
    return needed


def _read_object(store: ObjectStore, digest: str) -> bytes:
    name = make_problems_name(digest)
    source = store.open(name)
    size = source.size()
    if size is None:
        raise UnavailableError(f"the owner's store has no {name}")
    if size > FILE_MAX:
        raise UnavailableError(f"{name} has {size} bytes, more than {FILE_MAX}")
    short = f"{name} ends before its {size} bytes"
    data = b"".join(read_parts(source, size, lambda: _PATIENCE, short))
    if sha256(data).hexdigest() != digest:
        raise UnavailableError(f"{name} has other bytes than its digest says")
    return data
