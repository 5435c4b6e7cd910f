"""What a trainer makes in a round: its child, and in its turn the merged checkpoint."""

from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import version

from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.steps.folder import digest_tensors_of, read_step, read_step_groups
from assay.artifacts.steps.store import publish_step
from assay.environments.steering import compute_next_levels
from assay.inference.checkpoint import Checkpoint
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import HeldOutCounts
from assay.rounds.calendar import Round
from assay.rounds.child_store import put_child, put_outer, put_pieces, put_record, read_pieces
from assay.rounds.child_verdict import ChildFiles, ChildStep
from assay.rounds.config import RoundConfig
from assay.rounds.course import RoundPlace
from assay.rounds.difference_form import choose_form
from assay.rounds.folder import MadeStep, RoundFolder
from assay.rounds.merging import RoundMerge
from assay.rounds.outer_records import ROUND_VERSION, ChildRecord, MergeRecord
from assay.rounds.outer_step import round_masters
from assay.training import Learner, pick_masters

Report = Callable[[str], None]


def keep_step(made: Checkpoint, folder: RoundFolder, config: RoundConfig, report: Report) -> None:
    """Keep what the child needs of a step, by the checkpoint that it made. Raises StoreError,
    RoundFolderError."""
    manifest = made.manifest
    folder.keep_manifest(manifest)
    if config.publish_states:  # who repeats the step needs its initial state and its parent
        shelf = folder.open_shelf()
        for line in publish_step(shelf, config.steps, manifest, with_state=True):
            report(line)
        publish_checkpoint(shelf, made.folder, manifest.digest)


def make_child(
    hotkey: bytes,
    place: RoundPlace,
    of: Round,
    base: Checkpoint,
    learner: Learner,
    folder: RoundFolder,
    config: RoundConfig,
    *,
    in_haste: bool,
    report: Report,
) -> bytes:
    """Put the child on the shelf, and return its record's digest. In haste, its success is not
    measured. Raises FormError: it cannot be written."""
    steps = [_read_own(step, folder, config) for step in place.steps]
    whole = dict(learner.export_state())
    form = choose_form(of.rounds)
    residual = folder.load_residual(place.residual or ZERO_DIGEST)
    if residual is None:
        report("the last worker update's residual is missing: this one is made without it")
    pieces, left = form.encode(place.outer.masters, pick_masters(whole), residual or {})
    decoded = form.decode(place.outer.masters, pieces)
    counts: HeldOutCounts = ()
    if config.count is not None and not in_haste:
        counts = config.count(base, of.end - 1, round_masters(decoded))
    held = folder.write_begin(whole).read_bytes()
    record = ChildRecord(
        ROUND_VERSION,
        of.parameters.digest,
        of.end,
        hotkey,
        place.root,
        tuple(step.record.digest for step in steps),
        digest_tensors_of(whole.items()),
        digest_tensors_of(decoded.items()),
        tuple(sha256(piece).digest() for piece in pieces),
        sha256(held).digest(),
        counts,
    )
    shelf = folder.open_shelf()
    if config.publish_states:
        put_pieces(shelf, [held])
    child = ChildFiles(record, base.manifest, steps, decoded)
    put_child(shelf, child, pieces, config.steps.folder)
    folder.write_residual(record.digest, left)
    return record.digest


def _read_own(made: MadeStep, folder: RoundFolder, config: RoundConfig) -> ChildStep:
    manifest = folder.load_manifest(made.child)
    step = read_step(config.steps.get_path(manifest.number, made.record))
    return ChildStep(step.record, step.child, manifest, read_step_groups(step))


def publish_merge(
    hotkey: bytes,
    place: RoundPlace,
    merging: RoundMerge,
    base: Checkpoint,
    checkpoints: CheckpointFolder,
    config: RoundConfig,
) -> bytes:
    """Measure the merged checkpoint, upload it with everything it was merged from, and return its
    digest. Raises StoreError, CheckpointError."""
    of, merge = merging.facts.of, merging.merge()
    counts = () if config.count is None else config.count(base, of.end)
    record = MergeRecord(
        ROUND_VERSION,
        f"assay {version('assay')}",
        of.parameters.digest,
        of.end,
        place.base,
        merge.children,
        place.root,
        merge.after,
        merge.tensors,
        hotkey,
    )
    levels = compute_next_levels(of.parameters, base.manifest.levels, counts)
    manifest = checkpoints.publish(base, merge.weights, record.digest, levels, counts, of.end)
    made = open_checkpoint(checkpoints, manifest.digest, of.parameters)
    for child in merging.gathered.values():
        if child.files is not None and child.pieces is not None:
            put_child(config.store, child.files, read_pieces(child.pieces), merging.folder)
    put_outer(config.store, merge.outer, merge.after)
    put_record(config.store, record)
    publish_checkpoint(config.store, made.folder, made.digest)
    return made.digest
