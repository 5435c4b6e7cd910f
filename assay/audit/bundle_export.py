"""Makes a bundle: an audit that stores every answer.

Everything is written atomically when it is read, and the seals last. After an interruption, the
same command continues, and requests nothing again that it has.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.discovery import encode_published
from assay.artifacts.ports import Objects
from assay.artifacts.store_objects import make_parameters_name
from assay.artifacts.submissions.pack import PackedCopy, pack_parts
from assay.artifacts.submissions.reading import AbsentSubmission, SubmissionReader, TolerantReader
from assay.audit.auditor import Progress, audit
from assay.audit.bundle import FACTS_FILE, MODELS_FOLDER, list_needed, name_pack, read_facts
from assay.audit.bundle_seal import seal_folder
from assay.audit.findings import AuditReport
from assay.audit.ports import Public, Submissions
from assay.audit.recorded_answers import (
    RecordedAnswers,
    RecordedBeacons,
    RecordedChain,
    RecordedScoreLedger,
)
from assay.audit.sources import FetchedOutlines
from assay.inference.folder import verify_manifest, verify_tensors
from assay.judge.about import BUNDLE_VERSION, SUBMISSIONS_FOLDER, About, AuditedWindows, read_about
from assay.judge.bundle import read_pack
from assay.judge.pack import encode_pack
from assay.judge.seal import ABOUT_FILE, FILE_BYTES, STORE_FOLDER, SUMS_FILE, BundleError
from assay.network.files import hold_folder, remove_unfinished, write_file, write_json
from assay.network.store.base import StoreError
from assay.protocol.amendment import ParameterHistory, make_history
from assay.protocol.context import Context
from assay.protocol.encoding import to_json
from assay.protocol.reason import Refusal
from assay.protocol.submission import Range
from assay.verification import ReadPlan

#: Seconds between two writes of the facts.
_SAVE_S = 5.0
_MARKER = ".assay-*"


def export_bundle(
    public: Public,
    validator: bytes,
    windows: range,
    folder: Path,
    scratch: Path,
    mirrors: Callable[[], Iterable[Objects]],
    progress: Progress,
    base: Path | None = None,
) -> AuditReport:
    """Audit, and leave a bundle of everything that was read. After an interruption, the same call
    continues.

    Args:
        scratch: a folder for our own files.
        mirrors: gives the stores of checkpoints, anew for each one.
        base: a checkpoint that is kept whole.

    Raises:
        BundleError: the folder has other content, a whole bundle, or is being written; or no
            checkpoint of the bundle needs that base.
        CheckpointError: the base is none.
        ChainError, StoreError, WorkerError: the audit could not be done.
        UnknownParametersError: some windows' parameters cannot be read here.
    """
    rules = public.rules
    public.history.get(windows[-1])  # otherwise nobody could audit the bundle
    public = replace(public, history=_resume_history(folder, public.history))
    about = About(
        BUNDLE_VERSION,
        validator,
        public.history.first.identity.netuid,
        AuditedWindows(windows[0], windows[-1]),
        public.history.latest.digest,
    )
    with ExitStack() as stack:
        _claim(folder, about, stack)
        facts = _open_facts(folder, public)
        keep = partial(KeptObjects, folder / STORE_FOLDER)
        for parameters in public.history.all:
            name = make_parameters_name(parameters.digest)
            _put(folder / STORE_FOLDER / name, encode_published(parameters))
        submissions = _KeptSubmissions(folder / SUBMISSIONS_FOLDER, public.submissions)
        recording = replace(
            public,
            chain=RecordedChain(facts, public.chain),
            beacons=RecordedBeacons(facts, public.beacons),
            ledger=None if public.ledger is None else RecordedScoreLedger(facts, public.ledger),
            records=keep(public.records),
            submissions=submissions,
            outlines=FetchedOutlines(scratch, lambda: [keep(store) for store in mirrors()]),
            rules=None if rules is None else lambda slot: keep(rules(slot)),
            mirrors=lambda: [keep(store) for store in mirrors()],
        )
        saved = time.monotonic()

        def note(done: int, due: int) -> None:
            """Write the facts now and then, in case of an interruption."""
            nonlocal saved
            if time.monotonic() - saved > _SAVE_S:
                write_json(folder / FACTS_FILE, to_json(facts))
                saved = time.monotonic()
            progress(done, due)

        report = audit(recording, validator, windows, note)
        submissions.flush()
        write_json(folder / FACTS_FILE, to_json(facts))
        if base is not None:
            _keep_base(folder, base)
        seal_folder(folder)
    return report


def _keep_base(folder: Path, base: Path) -> None:
    manifest = verify_manifest(base)
    verify_tensors(base, manifest)
    if any(path.stat().st_size > FILE_BYTES for path in base.iterdir()):
        raise BundleError(f"{base} has a file of more than {FILE_BYTES:,} bytes: leave out --base")
    kept = CheckpointFolder(folder / MODELS_FOLDER)
    kept.sweep()  # of a command that was killed
    if kept.holds(manifest.digest):
        return
    needed = list_needed(folder)
    if manifest.digest not in needed:
        listed = ", ".join(digest.hex()[:16] + "…" for digest in needed) or "none"
        raise BundleError(f"{base} is not needed: an audit of these windows needs {listed}")
    kept.add(base, manifest.digest)


def _resume_history(folder: Path, history: ParameterHistory) -> ParameterHistory:
    """The history when the bundle was begun: amendments may have been decided since."""
    if not (folder / ABOUT_FILE).is_file():
        return history
    digests = [parameters.digest for parameters in history.all]
    latest = read_about(folder).parameters
    if latest not in digests:  # another bundle's, which is reported later
        return history
    return make_history(history.all[: digests.index(latest) + 1])


def _claim(folder: Path, about: About, stack: ExitStack) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not stack.enter_context(hold_folder(folder)):
        raise BundleError(f"another program is writing {folder}: name another folder")
    if (folder / SUMS_FILE).exists():
        raise BundleError(f"{folder} has a complete bundle: name another folder")
    remove_unfinished(folder, _MARKER)
    if (folder / ABOUT_FILE).exists():
        if read_about(folder) != about:
            raise BundleError(
                f"{folder} has an unfinished bundle of other windows, or of another validator or "
                f"network: use those that {folder / ABOUT_FILE} names, or name another folder"
            )
    elif any(folder.iterdir()):
        raise BundleError(f"{folder} is not empty: name another folder")
    write_json(folder / ABOUT_FILE, to_json(about))


def _open_facts(folder: Path, public: Public) -> RecordedAnswers:
    if (folder / FACTS_FILE).exists():
        return read_facts(folder)
    chain = public.chain
    return RecordedAnswers(chain.genesis_hash, chain.netuid, chain.get_head())


def _put(path: Path, data: bytes) -> None:
    if not path.is_file() or path.read_bytes() != data:
        write_file(path, data)


@dataclass(frozen=True, slots=True)
class KeptObjects:
    """Objects that are copied into the bundle's own store when they are read."""

    folder: Path
    objects: Objects

    def get(self, name: str, limit: int) -> bytes | None:
        data = self.objects.get(name, limit)
        if data is not None:
            _put(self.folder / name, data)
        return data


@dataclass(slots=True)
class _KeptSubmissions:
    """Files that are packed once they have been read. A file that is packed whole is not read
    again."""

    folder: Path
    submissions: Submissions
    _open: "tuple[Path, bytes, _KeptReader] | None" = None

    def open(self, context: Context, hotkey: bytes) -> SubmissionReader:
        self.flush()
        path = name_pack(self.folder, context, hotkey)
        if path.is_file():
            packed = read_pack(path, hotkey)
            if packed.is_whole:
                return PackedCopy(packed)
        try:
            opened = self.submissions.open(context, hotkey)
        except StoreError:
            opened = AbsentSubmission()
        reader = _KeptReader(TolerantReader(opened))
        self._open = path, hotkey, reader
        return reader

    def flush(self) -> None:
        """Write the pack that was read last."""
        if self._open is not None:
            path, hotkey, reader = self._open
            packed = pack_parts(hotkey, reader.parts)
            if packed is not None:
                write_file(path, encode_pack(packed))
            self._open = None


@dataclass(frozen=True, slots=True)
class _KeptReader:
    """A reader whose parts are kept, of all plans of one file."""

    reader: SubmissionReader
    parts: dict[Range, bytes | Refusal] = field(default_factory=dict)

    def offer(self, plan: ReadPlan) -> Refusal | None:
        plan.record(self.parts)
        return self.reader.offer(plan)
