"""A model folder's files: read within limits, checked by digests.

Specification, section 7. This module does not know whether the files make a model that runs.
"""

import json
import mmap
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from assay.gate.files import (
    JSON_BYTES,
    SMALL_FILE_BYTES,
    UnfitFileError,
    open_regular,
    read_regular,
)
from assay.inference.families import find_config_fault
from assay.inference.passages import Passage, decode_passages, digest_passages
from assay.inference.plain_config import find_plain_fault, is_plain
from assay.protocol.encoding import EncodingError, Json, from_json, read_json
from assay.protocol.errors import OperatorError, TroubleKind
from assay.protocol.hashing import Domain
from assay.protocol.manifest import (
    POOL_FILE,
    Calibration,
    FurtherFile,
    Manifest,
    TensorDigest,
    TensorPlace,
    compute_files_digest,
    compute_tensor_root,
    digest_safetensors,
    find_files_fault,
    find_twice,
    locate_tensors,
)
from assay.sandbox.thrown import LibraryError, catch_thrown

MANIFEST_FILE = "manifest.json"
CALIBRATION_FILE = "calibration.json"
PASSAGES_FILE = "calibration_set.json"
CONFIG_FILE = "config.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
#: Everything that a manifest binds beside the tensors.
SMALL_FILES = (CALIBRATION_FILE, PASSAGES_FILE, CONFIG_FILE, *TOKENIZER_FILES)
#: The folder of the further files that a manifest names.
FILES_FOLDER = "files"
#: The tensors, as Assay writes them. Readers take them from any *.safetensors file.
MODEL_FILE = "model.safetensors"

_D = TypeVar("_D")


class CheckpointError(OperatorError):
    """A model folder that cannot be used. The message says which file and what to do."""

    trouble_kind = TroubleKind.CHECKPOINT


class ComingCheckpointError(CheckpointError):
    """A checkpoint that is being fetched, which is nobody's fault: it is here soon."""


class UnusableCheckpointError(CheckpointError):
    """A folder that matches its digest but that nobody can use. It voids its windows."""


@contextmanager
def hold_alone(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A temporary folder with only these files: libraries read more than they are asked to."""
    with TemporaryDirectory() as temporary:
        for name, data in files.items():
            path = Path(temporary) / name
            try:
                path.write_bytes(data)
            except OSError as error:  # of a full disk names no file
                raise OSError(error.errno, error.strerror, str(path)) from None
        yield Path(temporary)


def make_header(tensors: Iterable[tuple[str, str, Sequence[int], int]]) -> bytes:
    """The beginning of a safetensors file, which its tensors' bytes follow in the same order.

    Args:
        tensors: name, type as the format names it, shape, and number of bytes.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, kind, shape, size in tensors:
        place = [start, start + size]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": place}
        start += size
    data = json.dumps(header, separators=(",", ":")).encode()
    data += b" " * (-len(data) % 8)
    return struct.pack("<Q", len(data)) + data


def read_small_file(folder: Path, name: str, limit: int = SMALL_FILE_BYTES) -> bytes:
    """A file of a model folder that fits memory: at most `limit` bytes. Raises a CheckpointError
    where it is missing or too large, or no regular file of the folder."""
    path = folder / name
    try:
        return read_regular(path, limit)
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path} ({error.strerror}): name a folder that holds a checkpoint"
        ) from None
    except UnfitFileError as error:
        raise CheckpointError(f"{path} {error}") from None


def read_document(folder: Path, name: str) -> Json:
    """A JSON file of a model folder, parsed.

    Raises:
        CheckpointError: see `read_small_file`. UnusableCheckpointError: it is not JSON, or larger
            than `JSON_BYTES`.
    """
    data = read_small_file(folder, name)
    if len(data) > JSON_BYTES:  # everybody's copy is
        raise UnusableCheckpointError(f"{folder / name} is larger than {JSON_BYTES >> 20} MiB")
    return parse_document(folder / name, data)


def parse_document(path: Path, data: bytes) -> Json:
    """The same for a file that has been read."""
    try:
        return read_json(data)
    except EncodingError as error:
        raise UnusableCheckpointError(f"{path} {error}") from None


def read_config(folder: Path) -> dict[str, Json]:
    """config.json, checked by itself.

    Raises:
        CheckpointError: see `read_small_file`. UnusableCheckpointError: it is of no known model.
    """
    config = read_document(folder, CONFIG_FILE)
    try:
        with catch_thrown():  # a defect of the gate must not end every program
            fault = find_plain_fault(config) if is_plain(config) else find_config_fault(config)
    except LibraryError as error:
        fault = f"{CONFIG_FILE} breaks the gate: {error}"
    if fault is not None:
        raise UnusableCheckpointError(f"{folder}: {fault}")
    found: dict[str, Json] = config
    return found


def read_record(folder: Path, name: str, of: type[_D]) -> _D:
    """A record from its JSON file.

    Raises:
        CheckpointError: the file is missing, or is not such a record.
    """
    try:
        return from_json(of, read_json(read_small_file(folder, name, JSON_BYTES)))
    except EncodingError as error:
        raise CheckpointError(f"{folder / name} is not a {of.__name__.lower()}: {error}") from None


def digest_calibration_set(folder: Path) -> bytes:
    """Digest of the calibration set that a manifest names, 32 bytes."""
    return digest_passages(read_small_file(folder, PASSAGES_FILE))


def read_passages(folder: Path) -> list[Passage]:
    """The calibration set of a model folder.

    Raises:
        CheckpointError: it is missing. UnusableCheckpointError: it is malformed, or has ids that
            the model has not; see `read_config`.
    """
    size = read_config(folder)["vocab_size"]
    assert isinstance(size, int), "the gate has read it"
    try:
        return decode_passages(read_small_file(folder, PASSAGES_FILE), size)
    except EncodingError as error:
        raise UnusableCheckpointError(f"{folder / PASSAGES_FILE} {error}") from None


def digest_structure(folder: Path) -> bytes:
    """Digest of config.json, 32 bytes."""
    files = {CONFIG_FILE: read_small_file(folder, CONFIG_FILE)}
    return compute_files_digest(Domain.STRUCTURE, files)


def digest_tokenizer(folder: Path) -> bytes:
    """Digest of the tokenizer's files, 32 bytes."""
    files = {name: read_small_file(folder, name) for name in TOKENIZER_FILES}
    return compute_files_digest(Domain.TOKENIZER, files)


def digest_weights(folder: Path, tensors: Sequence[TensorDigest]) -> bytes:
    """Root over a folder's tensors, 32 bytes.

    Raises:
        UnusableCheckpointError: two files hold a tensor of one name.
    """
    twice = find_twice(tensors)
    if twice is not None:
        raise UnusableCheckpointError(f"{folder} has tensor {twice[:100]} twice: remove one")
    return compute_tensor_root(tensors)


def digest_tensors(folder: Path) -> list[TensorDigest]:
    """All tensors of a folder's safetensors files, memory-mapped. Raises a CheckpointError where
    there are none, or a file is not safetensors."""
    return [tensor for _, digests in _read_all(folder, digest_safetensors) for tensor in digests]


def find_tensors(folder: Path) -> dict[str, tuple[Path, TensorPlace]]:
    """The place of each tensor of a folder: name → file and place. Does not hash anything.

    Raises:
        CheckpointError: see `digest_tensors`.
    """
    return {
        place.name: (path, place)
        for path, places in _read_all(folder, locate_tensors)
        for place in places
    }


def _read_all(folder: Path, read: Callable[[bytes], list[_D]]) -> list[tuple[Path, list[_D]]]:
    """The result of `read` for each safetensors file of a folder."""
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise CheckpointError(f"{folder} holds no *.safetensors file")
    results: list[tuple[Path, list[_D]]] = []
    for path in paths:
        fault = ""
        try:
            with (
                open_regular(path) as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            ):
                try:
                    results.append((path, read(data)))  # type: ignore[arg-type] # a buffer, too
                except EncodingError as error:  # its traceback would hold the map open
                    fault = str(error)
        except (OSError, ValueError) as error:  # an UnfitFileError, or an empty file's
            fault = str(error)
        if fault:
            raise CheckpointError(f"cannot read {path}: {fault}")
    return results


def verify_manifest(folder: Path, expected: bytes | None = None) -> Manifest:
    """The manifest of a folder.

    Args:
        expected: the digest on chain, where the caller knows it.

    Raises:
        CheckpointError: it is missing, malformed or another checkpoint's.
        UnusableCheckpointError: its further files are none that a manifest may name.
    """
    manifest = read_record(folder, MANIFEST_FILE, Manifest)
    if expected is not None and manifest.digest != expected:
        raise CheckpointError(
            f"{folder} holds checkpoint {manifest.digest.hex()[:16]}…, "
            f"not {expected.hex()[:16]}…: fetch the one in force"
        )
    fault = find_files_fault(manifest)
    if fault is not None:
        raise UnusableCheckpointError(f"{folder / MANIFEST_FILE}: {fault}")
    return manifest


def list_small_files(manifest: Manifest) -> list[str]:
    """The paths in a model folder of everything that a verified manifest binds beside the
    tensors."""
    return [*SMALL_FILES, *map(get_path, manifest.files)]


def get_path(file: FurtherFile) -> str:
    """A further file's path in a model folder, and below a checkpoint's name in a store."""
    return f"{FILES_FOLDER}/{file.name}"


def verify_small_files(folder: Path, manifest: Manifest) -> Calibration:
    """Check everything but the tensors against the manifest. Return the calibration.

    Raises:
        CheckpointError: a file is missing or differs from the manifest. UnusableCheckpointError:
            the manifest names a file with another size than it has.
    """
    calibration = read_record(folder, CALIBRATION_FILE, Calibration)
    for name, digest, wanted in (
        ("calibration", calibration.digest, manifest.calibration),
        ("calibration set", digest_calibration_set(folder), manifest.calibration_set),
        ("structure", digest_structure(folder), manifest.structure),
        ("tokenizer", digest_tokenizer(folder), manifest.tokenizer),
    ):
        _require_same(folder, name, digest, wanted)
    for file in manifest.files:
        data = read_small_file(folder, get_path(file))
        _require_same(folder, f"file {file.name!r}", sha256(data).digest(), file.sha256)
        if len(data) != file.size:
            raise UnusableCheckpointError(
                f"{folder / MANIFEST_FILE} says that {file.name} has {file.size:,} bytes, and the "
                f"file with its SHA-256 has {len(data):,}"
            )
    return calibration


def read_pool_file(folder: Path, manifest: Manifest) -> bytes:
    """The pool of problems of a checkpoint whose small files are verified; no bytes where its
    manifest names none."""
    pool = next((file for file in manifest.files if file.name == POOL_FILE), None)
    return b"" if pool is None else read_small_file(folder, get_path(pool))


def verify_tensors(folder: Path, manifest: Manifest) -> list[TensorDigest]:
    """Hash every tensor and check it against the manifest.

    Raises:
        CheckpointError: there are none, or they differ from the manifest. UnusableCheckpointError:
            they are the manifest's, and two have one name.
    """
    tensors = digest_tensors(folder)
    _require_same(folder, "tensors", compute_tensor_root(tensors), manifest.tensors)
    digest_weights(folder, tensors)  # raises for a name that occurs twice
    return tensors


def _require_same(folder: Path, name: str, actual: object, wanted: object) -> None:
    if actual != wanted:
        raise CheckpointError(
            f"the {name} in {folder} are not those of its manifest: the copy is damaged or "
            "changed, delete it and fetch it again"
        )
