"""A bundle: everything that an audit of some windows reads, in a sealed folder.

    about.json                        validator and windows
    facts.json                        answers of the chain and the beacons
    store/…                           records, parameters from the network's first on, checkpoints
                                      without their tensors
    submissions/window-<w>/<hotkey>   the parts read of each miner's file
    models/<checkpoint>/…             whole checkpoints, if their tensors were asked for
    SHA256SUMS                        of all of these, and of itself

An audit makes it by storing every answer that it reads, so it has exactly what an audit needs. It
cannot prove that its author asked an honest node.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assay.artifacts.checkpoints.adapter import read_adapter
from assay.artifacts.discovery import fetch_parameters, fetch_predecessors
from assay.artifacts.ports import Objects
from assay.artifacts.submissions.pack import PackedCopy
from assay.artifacts.submissions.reading import SubmissionReader
from assay.audit.bundle_file import unpack_bundle
from assay.audit.ports import Public
from assay.audit.recorded_answers import (
    RecordedAnswers,
    RecordedBeacons,
    RecordedChain,
    RecordedScoreLedger,
)
from assay.audit.sources import FetchedOutlines
from assay.inference.folder import MANIFEST_FILE, CheckpointError, verify_manifest
from assay.judge.about import SUBMISSIONS_FOLDER, About, read_about, read_document
from assay.judge.bundle import read_pack
from assay.judge.seal import FILE_BYTES, STORE_FOLDER, BundleError, require_bundle, require_sealed
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.protocol.amendment import ParameterHistory, make_history
from assay.protocol.context import Context
from assay.protocol.encoding import EncodingError, from_json
from assay.protocol.reason import Refusal
from assay.protocol.ss58 import encode_ss58
from assay.verification import ReadPlan

FACTS_FILE, MODELS_FOLDER = "facts.json", "models"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle, whose seals are intact."""

    folder: Path
    about: About
    public: Public
    store: ObjectStore  # records, parameters, and checkpoints without their tensors

    @property
    def models(self) -> Path | None:
        """The folder of whole checkpoints by digest, if it has some."""
        folder = self.folder / MODELS_FOLDER
        return folder if folder.is_dir() else None

    @property
    def validator(self) -> bytes:
        """Hotkey, 32 bytes."""
        return self.about.validator


def open_bundle(folder: Path, scratch: Path, copies: dict[str, Objects] | None = None) -> Bundle:
    """Open a bundle after a check of every byte.

    Args:
        folder: or its file, which is unpacked into `scratch`.
        scratch: a folder for our own files.
        copies: see `Public`.

    Raises:
        SealError: it differs from its seal: names the file.
        BundleError: it is not a bundle of this version.
        UnavailableError: it lacks parameters, or has some that nobody can work by.
    """
    require_bundle(folder)
    if folder.is_file():
        unpack_bundle(folder, scratch / "bundle")
        folder = scratch / "bundle"
        require_bundle(folder)
    require_sealed(folder)
    about = read_about(folder)
    facts = read_facts(folder)
    store = open_folder(folder / STORE_FOLDER)
    history = _open_history(store, about.parameters)
    public = Public(
        chain=RecordedChain(facts),
        beacons=RecordedBeacons(facts),
        parameters=history.get(about.windows.first),
        history=history,
        records=store,
        submissions=PackedSubmissions(folder / SUBMISSIONS_FOLDER),
        outlines=FetchedOutlines(scratch, lambda: [store]),
        copies=copies or {},
        ledger=None if facts.ledger is None else RecordedScoreLedger(facts),
        rules=lambda _: store,
        mirrors=lambda: [store],
        is_bundle=True,
    )
    return Bundle(folder, about, public, store)


def _open_history(store: ObjectStore, digest: bytes) -> ParameterHistory:
    path = fetch_predecessors(partial(fetch_parameters, store), digest)
    try:
        return make_history(path)
    except (IndexError, ValueError) as error:
        raise BundleError(f"the bundle's parameters do not follow each other: {error}") from None


def list_needed(folder: Path) -> list[bytes]:
    """The checkpoints whose tensors an audit with a model needs besides a bundle: bases of the
    adapters that it holds, and checkpoints without one."""
    needed, held = set(), folder / MODELS_FOLDER
    for path in (folder / STORE_FOLDER).glob(f"checkpoints/*/{MANIFEST_FILE}"):
        try:
            manifest = verify_manifest(path.parent)
            adapter = read_adapter(path.parent, manifest)
        except (CheckpointError, EncodingError):
            continue  # nobody can use it
        needed.add(manifest.digest if adapter is None else adapter.base)
    return sorted(digest for digest in needed if not (held / digest.hex()).is_dir())


def read_facts(folder: Path) -> RecordedAnswers:
    """Read `facts.json`. Raises a BundleError if the file is malformed."""
    try:
        return from_json(RecordedAnswers, read_document(folder / FACTS_FILE, FILE_BYTES))
    except EncodingError as error:
        raise BundleError(
            f"{folder / FACTS_FILE} does not hold the facts of a chain: {error}"
        ) from None


def name_pack(folder: Path, context: Context, hotkey: bytes) -> Path:
    """The path of the parts read of a hotkey's file."""
    return folder / f"window-{context.window}" / encode_ss58(hotkey)


@dataclass(frozen=True, slots=True)
class PackedSubmissions:
    """Miners' files from a bundle."""

    folder: Path

    def open(self, context: Context, hotkey: bytes) -> SubmissionReader:
        """A reader over a pack, which is opened at the first read."""
        return _LazyReader(name_pack(self.folder, context, hotkey), hotkey)


@dataclass(slots=True)
class _LazyReader:
    path: Path
    hotkey: bytes
    _opened: PackedCopy | None = None

    def offer(self, plan: ReadPlan) -> Refusal | None:
        """See `SubmissionReader`. Raises BundleError, PackError."""
        if self._opened is None:
            self._opened = PackedCopy(read_pack(self.path, self.hotkey))
        return self._opened.offer(plan)
