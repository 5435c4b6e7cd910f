"""Children that lie: a genuine one changed in one way, everything else made to fit, and shown in a
liar's store as its own."""

import shutil
from dataclasses import replace
from hashlib import sha256

from assay.artifacts.steps.folder import StepFolder, digest_tensors_of
from assay.protocol.commitment import Commitment, Tag
from assay.rounds.child_store import put_child
from assay.rounds.child_verdict import ChildFiles, ChildStep
from assay.rounds.difference_form import choose_form
from assay.rounds.outer_step import round_masters


def remake_last(child: ChildFiles, **changes) -> ChildFiles:
    """The same with another last step, whose checkpoint names it."""
    *before, last = child.steps
    record = replace(last.record, **changes)
    manifest = replace(last.manifest, step=record.digest, tensors=record.tensors)
    steps = [*before, ChildStep(record, manifest.digest, manifest, last.groups)]
    named = replace(
        child.record,
        steps=tuple(step.record.digest for step in steps),
        optimiser=record.optimiser_after,
    )
    return replace(child, record=named, steps=steps)


def with_masters(child: ChildFiles, masters) -> ChildFiles:
    """Other masters, to which the last step and the record agree."""
    tensors = digest_tensors_of(round_masters(masters).items())
    made = remake_last(child, tensors=tensors)
    root = digest_tensors_of(masters.items())
    return replace(made, masters=masters, record=replace(made.record, masters=root))


def show(bench, name: str, child: ChildFiles, genuine, pieces=None) -> Commitment:
    """Put a child into the liar's store, together with the genuine child's steps."""
    folder = bench.folder / "forged"
    shutil.rmtree(folder, ignore_errors=True)
    forged, known = StepFolder(folder), StepFolder(bench.folder / name / "steps")
    folder.mkdir()
    for step, old in zip(child.steps, genuine, strict=True):
        path = forged.get_path(step.record.number, step.record.digest)
        source = known.get_path(old.record.number, old.record.digest)
        shutil.copyfile(source.with_suffix(".parquet"), path.with_suffix(".parquet"))
        forged.keep_record(step.record, step.child)
    if pieces is None:
        keeper = bench.trainers[name].rounds
        outer = keeper.open_merge(keeper.place, bench.get_round(0)).facts.outer.masters
        whole = {**outer, **child.masters}  # no form can leave a tensor out
        pieces, _ = choose_form(bench.parameters.rounds).encode(outer, whole, {})
    record = replace(child.record, pieces=tuple(sha256(piece).digest() for piece in pieces))
    locator = bench.locate(name)
    put_child(bench.stores[locator], replace(child, record=record), pieces, folder)
    return Commitment(Tag.CHILD, record.end, 0, record.digest, locator)
