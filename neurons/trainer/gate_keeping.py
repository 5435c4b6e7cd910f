"""What a trainer measures of its course: each checkpoint that came into force, on problems that its
window drew, against the milestone.

    gates/<checkpoint>.json           its counts
    gates/<SHA-256>.parquet           the answers that they follow from
    gates/in_force.json               which checkpoints were in force, and since when

Both follow from public randomness and the models, so a trainer that is killed anywhere measures the
same again. Specification, section 7.1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from assay.artifacts.checkpoints.folder import open_checkpoint
from assay.artifacts.gates.file import GateAnswers, write_answers
from assay.artifacts.gates.store import publish_answers
from assay.inference.checkpoint import Checkpoint
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.network.chain.errors import ForgottenError
from assay.network.files import write_file, write_json
from assay.network.store.base import ObjectStore
from assay.neurons.program.neuron import JudgeSources
from assay.protocol.amendment import ParameterHistory
from assay.protocol.encoding import EncodingError, from_json, read_json, to_json
from assay.protocol.gate import (
    NO_COURSE,
    Course,
    GateCounts,
    Place,
    choose_outcome,
    compute_gate_seed,
    find_course_fault,
    find_place,
)
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest, continue_line
from assay.protocol.parameters import Gate, GateRule, Parameters
from assay.protocol.window import Phase, compute_block, compute_window
from assay.session.course_windows import CourseWindows, Run
from assay.session.window_reader import BeaconError
from assay.training.gate_answers import (
    answer_gate,
    count_gate,
    draw_gate_problems,
    list_gate_levels,
    open_gate_environment,
    select_first_problems,
)

#: Measured checkpoints whose answers wait to be uploaded, where the trainer has no folder.
_KEPT = 16
#: Of those in a folder.
_KEPT_FILES = 256
_IN_FORCE = "in_force.json"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A checkpoint that came into force, and what draws its problems."""

    digest: bytes
    randomness: bytes


class GateKeeper:
    """Measures the checkpoints of a course, each once.

    Args:
        folder: of the trainer, where it keeps what it has measured; None: nowhere.
        report: called with a line about each checkpoint that is measured.
    """

    def __init__(
        self,
        parameters: ParameterHistory,
        sources: JudgeSources,
        folder: Path | None,
        report: Callable[[str], None],
    ) -> None:
        self._parameters = parameters
        self._sources = sources
        self._folder = None if folder is None else folder / "gates"
        self._report = report
        self._counted: dict[bytes, tuple[GateCounts, bytes]] = {}
        kept = None if self._folder is None else self._folder / _IN_FORCE
        self._windows = CourseWindows(sources.chain, sources.beacons, parameters, kept)
        self._told: set[int] = set()  # windows whose gaps a person knows of
        self._uploaded: set[bytes] = set()  # SHA-256 of files, since this program began

    def measure(self, parent: Checkpoint, window: int) -> Course:
        """The course that the manifest of a checkpoint's child carries.

        Args:
            parent: the newest checkpoint.
            window: of the child's record. Its CHECKPOINT block is final. What came into force since
                then counts, too.

        Raises:
            ChainError, BeaconError: chain or beacons cannot be read.
            CheckpointError: the milestone, the first checkpoint or one in force is not here, and no
                store has it.
            WorkerError: the sandbox cannot run.
            OSError: the folder cannot be written.
        """
        parameters = self._parameters.get(window)
        if parameters.gate.rule is GateRule.NONE:
            return NO_COURSE
        course = continue_line(parent.manifest, parameters.gate)
        new = self._list_new(course, window, parameters.gate)
        counts = [self._count(one, course, parameters) for one in new]
        course = replace(course, counts=(*course.counts, *counts))
        return replace(course, outcome=choose_outcome(course, parameters.gate))

    def prepare(self, parent: Checkpoint, window: int) -> bool:
        """Measure a checkpoint that came into force, so that no step waits for it. Return whether
        there was one to measure. Raises as `measure`."""
        parameters = self._parameters.get(window)
        if parameters.gate.rule is GateRule.NONE:
            return False
        course = continue_line(parent.manifest, parameters.gate)
        for drawn in self._list_new(course, window, parameters.gate):
            if self._read(drawn.digest) is None:
                self._count(drawn, course, parameters)
                return True
        return False

    def upload(self, store: ObjectStore, made: Manifest) -> None:
        """Upload the answers that a manifest names, as far as they are here. Raises StoreError,
        OSError: a store or the folder cannot be written or read."""
        for counts in made.course.counts:
            known = None if counts.answers in self._uploaded else self._read(counts.checkpoint)
            if known is not None and known[0] == counts:
                self._uploaded.add(publish_answers(store, known[1]))

    def _find_last(self, window: int) -> int:
        """The newest window of a line whose CHECKPOINT block is final; -1: none. Parameters that
        begin with another checkpoint begin another line."""
        history, head = self._parameters, self._sources.chain.get_head()
        own = history.get(window)
        timing, first = own.timing, own.first_checkpoint
        ends = [one.start.window for one in history.all if one.first_checkpoint != first]
        ends += [] if history.end is None else [history.end]
        last = min((end for end in ends if end > window), default=None)
        newest = max(0, compute_window(timing, head) - 1)
        while compute_block(timing, newest + 1, Phase.CHECKPOINT) <= head:
            newest += 1
        if compute_block(timing, newest, Phase.CHECKPOINT) > head:
            return -1
        return newest if last is None else min(newest, last - 1)

    def _list_new(self, course: Course, due: int, gate: Gate) -> list[Drawn]:
        """The checkpoints of a course that came into force and are not counted yet, by number: up
        to the window `due` all, and of those behind it whose problems are drawn already. An honest
        trainer's courses follow one another, so the search ends at the first checkpoint that is
        counted, or of an earlier course. It also ends where nodes have forgotten what nobody here
        has looked at: the network goes on, and an auditor with an archive names what is left out.
        """
        counted = {course.milestone, *(one.checkpoint for one in course.counts)}
        first: dict[bytes, tuple[int, int]] = {}  # number, window
        window = self._find_last(due)
        try:
            for run in self._windows.iterate_back(window):
                if run.digest in counted:
                    break
                manifest = self._read_manifest(run)
                if manifest is None:
                    continue
                place = find_place(run.digest, manifest.course, course, gate)
                if place is Place.BEFORE:
                    break
                if place is Place.WITHIN:
                    first[run.digest] = manifest.number, run.window
        except ForgottenError as error:
            self._tell_forgotten(window, error)
        drawn = []
        for digest, (_, begun) in sorted(first.items(), key=lambda one: one[1]):
            try:
                drawn.append(Drawn(digest, self._windows.get_randomness(begun)))
            except ForgottenError as error:
                self._tell_forgotten(window, error)
            except BeaconError:  # it came into force just now: the child counts it
                if begun <= due:
                    raise
        return drawn

    def _tell_forgotten(self, window: int, error: ForgottenError) -> None:
        if window not in self._told:
            self._told = {window}
            self._report(
                f"what came into force before window {window} is not all counted ({error}): name "
                "an archive node, or auditors call it left out"
            )

    def _read_manifest(self, run: Run) -> Manifest | None:
        """A checkpoint's manifest; None: the slot named something else, or what nobody can use,
        which is of no course. One that is not here is waited for until its first window is over.
        Raises CheckpointError: it may still come."""
        if run.digest == ZERO_DIGEST:
            return None
        try:
            manifest = self._sources.checkpoints.get_outline(run.digest).manifest
            gate, is_first = self._parameters.get(run.window).gate, manifest.step == ZERO_DIGEST
            fault = None if is_first else find_course_fault(manifest.course, gate)
            return manifest if fault is None else None
        except UnusableCheckpointError:
            return None
        except CheckpointError:
            timing = self._parameters.get(run.window).timing
            end = compute_block(timing, run.window, Phase.VERDICT_END)
            if self._sources.chain.get_head() <= end:
                raise
            return None

    def _count(self, drawn: Drawn, course: Course, parameters: Parameters) -> GateCounts:
        """Answer a checkpoint's problems, and count. Its models are open one after the other."""
        known = self._read(drawn.digest)
        if known is not None:
            return known[0]
        checkpoints, gate, work = self._sources.checkpoints, parameters.gate, parameters.work
        named = drawn.digest, course.milestone, parameters.first_checkpoint
        for digest in named[1:]:  # they stay as long as courses return to them
            checkpoints.keep_longer(digest)
        own, milestone, first = (checkpoints.get_outline(d).manifest for d in named)
        environment = open_gate_environment(parameters)
        levels = list_gate_levels(environment, first.level_numbers, milestone.level_numbers)
        seed = compute_gate_seed(drawn.digest, drawn.randomness)
        problems = draw_gate_problems(environment, seed, levels, gate.problems)
        asked = problems, problems, select_first_problems(problems)
        answers = [
            answer_gate(open_checkpoint(checkpoints, digest, parameters), environment, work, part)
            for digest, part in zip(named, asked, strict=True)
        ]
        data = write_answers(GateAnswers(*([one.tokens for one in part] for part in answers)))
        rights = ([one.is_right for one in part] for part in answers)
        counts = GateCounts(
            drawn.digest, sha256(data).digest(), gate.problems, *count_gate(*rights)
        )
        self._keep(counts, data)
        self._report(
            f"checkpoint {own.number} on {counts.asked} new problems: solves {counts.wins} that "
            f"milestone {milestone.number} does not, and not {counts.losses} that it does"
        )
        return counts

    def _keep(self, counts: GateCounts, data: bytes) -> None:
        if self._folder is None:
            self._counted[counts.checkpoint] = counts, data
            while len(self._counted) > _KEPT:
                del self._counted[next(iter(self._counted))]
            return
        write_file(self._folder / f"{counts.answers.hex()}.parquet", data)
        write_json(self._folder / f"{counts.checkpoint.hex()}.json", to_json(counts))
        for kind in ("json", "parquet"):
            found = (path for path in self._folder.glob(f"*.{kind}") if path.name != _IN_FORCE)
            files = sorted(found, key=lambda path: path.stat().st_mtime)
            for old in files[:-_KEPT_FILES]:
                old.unlink()

    def _read(self, digest: bytes) -> tuple[GateCounts, bytes] | None:
        """What was counted of a checkpoint, and its answers' file; None: it is to be measured."""
        if self._folder is None:
            return self._counted.get(digest)
        try:
            value = read_json((self._folder / f"{digest.hex()}.json").read_bytes())
            counts = from_json(GateCounts, value)
            data = (self._folder / f"{counts.answers.hex()}.parquet").read_bytes()
        except (FileNotFoundError, EncodingError):
            return None
        return (counts, data) if sha256(data).digest() == counts.answers else None
