"""A trainer publishes a checkpoint with something wrong in it, and every byte has its digest.

Whatever it is, no other copy of it will ever come. So every reader ends with a verdict, the
checkpoint or why nobody can use it, and nobody waits for a better copy as if this one was damaged.
The changes are generated: from the manifest's fields, so that a new one is tried, too, and from the
fields of each file.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings, open_checkpoint
from assay.artifacts.checkpoints.tensor_table import TABLE_FILE
from assay.artifacts.store_objects import make_checkpoint_name, make_tensor_name
from assay.audit.sources import FetchedOutlines
from assay.inference.folder import (
    CALIBRATION_FILE,
    CONFIG_FILE,
    MANIFEST_FILE,
    PASSAGES_FILE,
    SMALL_FILES,
    TOKENIZER_FILES,
    UnusableCheckpointError,
    digest_tensors,
    find_tensors,
    get_path,
    verify_manifest,
)
from assay.inference.passages import digest_passages
from assay.network.store.folder import FolderStore
from assay.protocol.encoding import EncodingError, encode, from_json, to_json
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import (
    POOL_FILE,
    Calibration,
    FurtherFile,
    Manifest,
    TensorDigest,
    compute_files_digest,
    compute_tensor_root,
)
from tests.adversarial.mortal import make_parameters
from tests.small_genesis import make_small_genesis

#: What a manifest binds by a digest of bytes: these are changed, and the digest follows.
BOUND = {"structure", "tokenizer", "calibration", "calibration_set", "tensors"}
CORE, SETTINGS = TOKENIZER_FILES
#: One change of so many is tried with each commit, and all of them at night.
QUICK = 24


@dataclass(frozen=True)
class Served:
    """What a store serves: a manifest, the small files and further ones by path, rows of the table
    of tensors, and tensors' data."""

    manifest: Manifest
    files: Mapping[str, bytes]
    rows: tuple[TensorDigest, ...]
    data: tuple[bytes, ...]

    def put(self, store: FolderStore) -> bytes:
        """Write all of it, and return the checkpoint's digest."""
        digest = self.manifest.digest
        table = [[t.name, t.dtype, list(t.shape), t.sha256.hex()] for t in self.rows]
        documents = {MANIFEST_FILE: to_json(self.manifest), TABLE_FILE: table}
        written = {name: json.dumps(value).encode() for name, value in documents.items()}
        for name, data in {**self.files, **written}.items():
            store.put(make_checkpoint_name(digest, name), data)
        for data in self.data:
            store.put(make_tensor_name(sha256(data).digest()), data)
        return digest


def serve_honest(folder: Path) -> Served:
    """A small checkpoint with a further file and an adapter that is none."""
    make_small_genesis(folder)
    further = {"adapter.safetensors": b"no adapter", "notes.txt": b"notes"}
    named = tuple(FurtherFile(n, sha256(data).digest(), len(data)) for n, data in further.items())
    files = {name: (folder / name).read_bytes() for name in SMALL_FILES}
    files |= {get_path(file): further[file.name] for file in named}
    places = find_tensors(folder).values()
    data = tuple(path.read_bytes()[place.start : place.end] for path, place in places)
    manifest = replace(verify_manifest(folder), files=named)
    return Served(manifest, files, tuple(digest_tensors(folder)), data)


def iterate_values(value: Any) -> Iterator[Any]:
    """Other values of a field, by the kind of its own."""
    if isinstance(value, Enum):
        yield from type(value)
    elif isinstance(value, bytes):
        yield from (bytes(32), bytes([255]) * 32, bytes(range(32)))
    elif isinstance(value, str):
        yield from ("", "A", "../x", "a" * 64, POOL_FILE, "manifest.json", "\udc80", "é")
    elif isinstance(value, int):
        yield from (*(at - 1 for at in (1, 2, 3, 1 << 16, 1 << 32, 1 << 63, 1 << 64)), -1)
    elif is_dataclass(value):
        for name in (field.name for field in fields(value) if field.name != "sha256"):
            for other in iterate_values(getattr(value, name)):
                yield replace(value, **{name: other})  # type: ignore[type-var]
    elif isinstance(value, tuple):
        yield from ((), value * 2, value[::-1], value * 9, value[:1] * 32)
        for at, part in enumerate(value[:2]):
            yield from ((*value[:at], other, *value[at + 1 :]) for other in iterate_values(part))


def change_record(record: Any, leave: set[str]) -> Iterator[tuple[str, Any]]:
    """A record with one other field, where that has bytes and a JSON form at all."""
    for name in (field.name for field in fields(record) if field.name not in leave):
        for number, value in enumerate(iterate_values(getattr(record, name))):
            changed = replace(record, **{name: value})
            try:
                same = from_json(type(record), json.loads(json.dumps(to_json(changed))))
                if encode(same) != encode(record):
                    yield f"{name} {number}", changed
            except (EncodingError, ValueError):  # no manifest
                continue


def change_document(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Other bytes in place of a JSON file's."""
    plain = (b"", b"{}", b"[]", b"null", b"\xff", data[: len(data) // 2], data + b"{", b"[" * 99)
    yield from ((f"bytes {number}", other) for number, other in enumerate(plain))
    yield "no bytes that parse at once", b"[" + b"[]," * (1 << 21) + b"0]"
    document = json.loads(data)
    for name in document if isinstance(document, dict) else ():
        for number, value in enumerate((None, 0, -1, 1 << 70, 1.5, True, "", "x", [], {}, [{}])):
            yield f"{name} {number}", json.dumps(document | {name: value}).encode()
        yield f"no {name}", json.dumps({n: v for n, v in document.items() if n != name}).encode()


def change_files(honest: Served) -> Iterator[tuple[str, Served]]:
    """One of the files that a digest binds, and the digest with it."""
    for name in (CONFIG_FILE, *TOKENIZER_FILES, PASSAGES_FILE):
        for about, data in change_document(honest.files[name]):
            yield f"{name}: {about}", bind(honest, {**honest.files, name: data})
    calibration = from_json(Calibration, json.loads(honest.files[CALIBRATION_FILE]))
    for about, changed in change_record(calibration, set()):
        files = {**honest.files, CALIBRATION_FILE: json.dumps(to_json(changed)).encode()}
        manifest = replace(honest.manifest, calibration=changed.digest)
        yield f"calibration: {about}", replace(honest, files=files, manifest=manifest)
    for template in ("", "{{ messages[0].content }}", "{{", "x" * (1 << 17)):
        settings = json.dumps(json.loads(honest.files[SETTINGS]) | {"chat_template": template})
        for named in (template, "other", None):
            served = bind(honest, {**honest.files, SETTINGS: settings.encode()})
            text = [named.encode()] if named else []
            digest = hash_fields(Domain.CHAT_TEMPLATE, *text)
            manifest = replace(served.manifest, chat_template=digest)
            yield f"template {template[:9]} as {named}", replace(served, manifest=manifest)


def bind(served: Served, files: Mapping[str, bytes]) -> Served:
    tokenizer = {name: files[name] for name in TOKENIZER_FILES}
    manifest = replace(
        served.manifest,
        structure=compute_files_digest(Domain.STRUCTURE, {CONFIG_FILE: files[CONFIG_FILE]}),
        tokenizer=compute_files_digest(Domain.TOKENIZER, tokenizer),
        calibration_set=digest_passages(files[PASSAGES_FILE]),
    )
    return replace(served, files=files, manifest=manifest)


def change_further(honest: Served) -> Iterator[tuple[str, Served]]:
    """Further files: other data under names that programs read, and their places."""
    for name in (POOL_FILE, "adapter.safetensors", "notes.txt"):
        for number, data in enumerate((b"", b"{}", b"\xff" * 99, b"[" * 99, b"1\n" * 99)):
            named = FurtherFile(name, sha256(data).digest(), len(data))
            manifest = replace(honest.manifest, files=(named,))
            files = {**honest.files, get_path(named): data}
            yield f"{name} {number}", replace(honest, files=files, manifest=manifest)


def change_tensors(honest: Served) -> Iterator[tuple[str, Served]]:
    """The list of tensors, whose root follows; and the tensors' data."""
    first, *others = honest.rows
    for about, rows in {
        "one fewer": others,
        "one twice": (first, *honest.rows),
        "one more": (*honest.rows, replace(first, name="more")),
        "the header's own": (*honest.rows, replace(first, name="__metadata__")),
        "no name": (*honest.rows, replace(first, name="")),
        "a path": (*honest.rows, replace(first, name="../../x")),
        "a long name": (*honest.rows, replace(first, name="x" * 100_000)),
        "no side": (replace(first, shape=()), *others),
        "17 sides": (replace(first, shape=(1,) * 17), *others),
        "a side of nothing": (replace(first, shape=(0, *first.shape[1:])), *others),
        "more than a disk": (replace(first, shape=(1 << 49, 1)), *others),
        "more than a number": (replace(first, shape=((1 << 64) - 1, 1)), *others),
        "another type": (replace(first, dtype="F32"), *others),
        "no type": (replace(first, dtype=""), *others),
        "a part of another's": (replace(first, sha256=others[0].sha256), *others),
    }.items():
        manifest = replace(honest.manifest, tensors=compute_tensor_root(rows))
        yield f"tensors: {about}", replace(honest, rows=tuple(rows), manifest=manifest)
    for about, data in {
        "not finite": b"\xff" * len(honest.data[0]),
        "0": bytes(len(honest.data[0])),
    }.items():
        rows = (replace(first, sha256=sha256(data).digest()), *others)
        manifest = replace(honest.manifest, tensors=compute_tensor_root(rows))
        yield f"weights: {about}", Served(manifest, honest.files, rows, (*honest.data, data))


def change_all(honest: Served) -> Iterator[tuple[str, Served]]:
    """Every change."""
    for about, manifest in change_record(honest.manifest, BOUND):
        served = {file.sha256: data for file, data in pair_files(honest)}
        legal = [
            file for file in manifest.files if set(file.name) <= set("abcdefghijklmnopqrstuvwxyz.")
        ]
        files = {get_path(file): served[file.sha256] for file in legal if file.name}
        yield (
            f"manifest: {about}",
            replace(honest, manifest=manifest, files={**honest.files, **files}),
        )
    yield from change_files(honest)
    yield from change_further(honest)
    yield from change_tensors(honest)


def pair_files(served: Served) -> Iterator[tuple[FurtherFile, bytes]]:
    for file in served.manifest.files:
        yield file, served.files[get_path(file)]


def read(folder: Path, served: Served) -> list[str]:
    """What a validator, whoever needs an outline, and an auditor say: "", or why nobody can use it.
    Any other error is one of ours, and leaves."""
    store = FolderStore(folder / "store")
    digest = served.put(store)
    parameters = make_parameters()
    identity = replace(parameters.identity, genesis_checkpoint=digest)
    parameters = replace(parameters, identity=identity)
    fetching = DownloadSettings(lambda: [store])
    said = []
    for ask in (
        lambda: open_checkpoint(CheckpointFolder(folder / "a", fetching), digest, parameters),
        lambda: CheckpointFolder(folder / "b", fetching).get_outline(digest),
        lambda: FetchedOutlines(folder / "c", lambda: [store]).get(digest),
    ):
        try:
            ask()
            said.append("")
        except UnusableCheckpointError as error:
            said.append(str(error))
    return said


@pytest.mark.parametrize(
    "part", [pytest.param(n, marks=pytest.mark.nightly) if n else n for n in range(QUICK)]
)
def test_whatever_has_its_digest_is_a_verdict(tmp_path: Path, part: int) -> None:
    honest = serve_honest(tmp_path / "honest")
    assert read(tmp_path / "none", honest) == ["", "", ""]
    changes, refused = [*change_all(honest)], 0
    for number, (about, served) in enumerate(changes[part::QUICK]):
        try:
            whole, outline, audited = read(tmp_path / str(number), served)
        except Exception as error:
            error.add_note(about)
            raise
        refused += bool(whole)
        assert outline or not audited, (about, audited)  # an auditor reads no list of tensors
        assert whole or not outline, (about, outline)
    assert refused > len(changes) // QUICK // 4
