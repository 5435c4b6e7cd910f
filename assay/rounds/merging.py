"""A round's merge: children are gathered and judged, the outer step is taken, and published results
are compared with it.

Everybody with the same children gets the same result. If a publisher's own record says that it
lacked a child, it merged without that child, and the comparison does the same, while the lacking
children are fewer than half of those named on chain. Everything else has to be equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from assay.artifacts.steps.file import open_step_parser
from assay.artifacts.steps.folder import digest_tensors_of
from assay.network.store.base import ObjectStore
from assay.protocol.commitment import Commitment, Tag, parse_commitment
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest
from assay.rounds.calendar import Round
from assay.rounds.child_store import RoundReader, WithheldError, forget_masters
from assay.rounds.child_verdict import ChildFiles, Judgment, RoundFacts, judge_child, leave_doubled
from assay.rounds.difference_form import choose_form
from assay.rounds.in_force import Slots
from assay.rounds.outer_records import ChildFinding, MergedChild, MergeRecord
from assay.rounds.outer_step import OuterState, compute_outer_root, round_masters, step_outwards

_WITHHELD = ChildFinding.WITHHELD


@dataclass(frozen=True, slots=True)
class FoundChild:
    """One trainer's child as it was found, merged or not.

    Attributes:
        digest: as in the trainer's slot at the deadline; zeros if there was none.
        files, pieces: its files, and the file with its pieces; None: unavailable or unusable.
    """

    hotkey: bytes
    digest: bytes
    judgment: Judgment
    files: ChildFiles | None = None
    pieces: Path | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """The result of a round."""

    children: tuple[MergedChild, ...]
    outer: OuterState
    after: bytes  # the outer state's root
    weights: Mapping[str, Tensor]  # as published
    tensors: bytes  # their root


def find_children(of: Round, slots: Slots) -> dict[bytes, Commitment | None]:
    """The children on chain at the deadline, by hotkey in order; None for a trainer without one."""
    children: dict[bytes, Commitment | None] = {}
    for hotkey in of.rounds.trainers:
        commitment = parse_commitment(slots.get(hotkey, b""))
        is_child = (
            commitment is not None and commitment.tag is Tag.CHILD and commitment.number == of.end
        )
        children[hotkey] = commitment if is_child else None
    return children


def find_shortage(named: int, withheld: int) -> str | None:
    """Why a round cannot be merged without the withheld ones of the children named on chain, or
    None. A measurer could otherwise leave out whom it likes, until its own child decides alone."""
    if 2 * withheld < max(named, 1):
        return None
    return (
        f"{withheld} of the {named} worker updates named on chain are withheld, not fewer than half"
    )


def gather_child(
    hotkey: bytes, commitment: Commitment | None, facts: RoundFacts, reader: RoundReader
) -> FoundChild:
    """Read and judge one child."""
    if commitment is None:
        absent = ChildFinding.ABSENT, "its slot had no worker update at the deadline"
        return FoundChild(hotkey, ZERO_DIGEST, absent)
    form = choose_form(facts.of.rounds)
    try:
        record = reader.read_child_record(commitment.digest)
        read = reader.read_child(record, facts.outer.masters, form, len(facts.of.windows))
    except WithheldError as error:
        return FoundChild(hotkey, commitment.digest, (_WITHHELD, str(error)))
    if isinstance(read, str):
        return FoundChild(hotkey, commitment.digest, (ChildFinding.MISFIT, read))
    files, pieces = read
    judgment = judge_child(files, hotkey, facts)
    return FoundChild(hotkey, commitment.digest, judgment, files, pieces)


def merge_round(facts: RoundFacts, children_found: Sequence[FoundChild]) -> Merge:
    """The merge of a round's children, which are in order of their hotkeys."""
    pairs = [(one.files.record if one.files else None, one.judgment) for one in children_found]
    judgments = leave_doubled(pairs)
    children = tuple(
        MergedChild(one.hotkey, one.digest, judgment[0])
        for one, judgment in zip(children_found, judgments, strict=True)
    )
    masters = [
        one.files.masters
        for one, child in zip(children_found, children, strict=True)
        if child.finding is ChildFinding.TAKEN and one.files is not None
    ]
    outer = step_outwards(facts.outer, masters, facts.of.rounds)
    weights = round_masters(outer.masters)
    tensors = digest_tensors_of(weights.items())
    return Merge(children, outer, compute_outer_root(outer), weights, tensors)


@dataclass(slots=True)
class RoundMerge:
    """A finished round, as one reader has it. A child that the reader lacks may later be in the
    store of the trainer that merged it."""

    facts: RoundFacts
    commitments: Mapping[bytes, Commitment | None]  # see `find_children`
    parent: bytes  # digest of the checkpoint that the round began with
    folder: Path
    gathered: dict[bytes, FoundChild] = field(default_factory=dict)

    def gather(self, stores: Mapping[bytes, Sequence[ObjectStore]], seconds: float) -> None:
        """Read the children that are still missing. `stores`: by hotkey, the stores to ask."""
        with open_step_parser() as parser:
            for hotkey, commitment in self.commitments.items():
                known = self.gathered.get(hotkey)
                if known is None or known.judgment[0] is _WITHHELD:
                    reader = RoundReader(stores[hotkey], self.folder, seconds, parser)
                    self.gathered[hotkey] = gather_child(hotkey, commitment, self.facts, reader)

    def forget(self) -> None:
        """Remove the children's pieces and masters from the folder. Raises OSError."""
        forget_masters(self.folder)

    def find_shortage(self) -> str | None:
        """Why this reader cannot merge the round with the children that it has, or None."""
        findings = [one.judgment[0] for one in self.gathered.values()]
        return find_shortage(len(self._named), findings.count(_WITHHELD))

    @property
    def _named(self) -> frozenset[bytes]:
        return frozenset(hotkey for hotkey, child in self.commitments.items() if child is not None)

    def merge(self, withheld: frozenset[bytes] = frozenset()) -> Merge:
        """The merge without the children in `withheld`, which somebody else could not get."""
        return merge_round(
            self.facts,
            [
                FoundChild(hotkey, one.digest, (_WITHHELD, "by the record"))
                if hotkey in withheld
                else one
                for hotkey, one in sorted(self.gathered.items())
            ],
        )

    def find_fault(self, manifest: Manifest, record: MergeRecord) -> tuple[str | None, Merge]:
        """The difference between a published checkpoint and the round's result, or None; and that
        result."""
        said = {child.hotkey for child in record.children if child.finding is _WITHHELD}
        withheld = self._named & said
        merge, facts = self.merge(withheld), self.facts
        for what, theirs, ours in (
            ("step", manifest.step, record.digest),
            ("number", (manifest.number, record.end), (facts.of.end, facts.of.end)),
            ("parent", (manifest.parent, record.parent), (self.parent, self.parent)),
            ("parameters", record.parameters, facts.of.parameters.digest),
            ("children", record.children, merge.children),
            ("state before", record.outer_before, facts.before),
            ("state after", record.outer_after, merge.after),
            ("tensors", (manifest.tensors, record.tensors), (merge.tensors, merge.tensors)),
        ):
            if theirs != ours:
                return self._describe(what, record, merge), merge
        return find_shortage(len(self._named), len(withheld)), merge

    def list_left_out(self, merge: Merge) -> list[str]:
        """A sentence on each available child that was not merged."""
        lines = []
        for child in merge.children:
            if child.finding in (ChildFinding.TAKEN, ChildFinding.ABSENT):
                continue
            finding, why = self.gathered[child.hotkey].judgment
            if child.finding is _WITHHELD and finding is not _WITHHELD:
                why = "the trainer that published the merge could not read it, and this one could"
            name = child.hotkey.hex()[:16]
            lines.append(f"the worker update of {name}… is left out, {child.finding.value}: {why}")
        return lines

    def _describe(self, what: str, record: MergeRecord, merge: Merge) -> str:
        if what != "children":
            return f"its {what} differs from the round's result"
        stated = {child.hotkey: child for child in record.children}
        for child in merge.children:
            theirs = stated.get(child.hotkey)
            if theirs != child:
                finding = "nothing" if theirs is None else theirs.finding.value
                why = self.gathered[child.hotkey].judgment[1]
                return (
                    f"it says {finding} of {child.hotkey.hex()[:16]}…'s worker update, which is "
                    f"{child.finding.value}: {why}"
                )
        return "its record names others than the trainers"
