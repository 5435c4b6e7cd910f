"""Whether a checkpoint's course is what its parent, the chain, the answers and the models make it.

A manifest's integers alone make a false course unusable for everybody (`find_course_fault`). What
is here needs more than a manifest, so that whoever looks names it, and it voids nothing: counts
that do not follow from the answers, answers that no model has drawn, a checkpoint that is left out.
Specification, section 7.1.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256

from assay.artifacts.gates.checking import find_forged
from assay.artifacts.gates.file import GateAnswers, GateModel, read_answers
from assay.environments.base import Environment
from assay.inference.checkpoint import Checkpoint, Outline
from assay.inference.folder import CheckpointError
from assay.protocol.encoding import EncodingError
from assay.protocol.gate import Course, GateCounts, compute_gate_seed, is_of_course
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest, continue_line
from assay.protocol.parameters import Gate, Parameters
from assay.session.course_windows import CourseWindows, Run
from assay.training.gate_answers import (
    GateProblems,
    count_gate,
    draw_gate_problems,
    list_gate_levels,
    open_gate_environment,
    score_answers,
    select_first_problems,
)

#: Checkpoints that may come into force while a later one is made and published, and that its child
#: counts: it was measured before them, and its parent was late on chain.
LATE_MAX = 2
#: What an open outline is asked for; raises CheckpointError: it cannot be had.
GetOutline = Callable[[bytes], Outline]


@dataclass(frozen=True, slots=True)
class CourseFault:
    """A lie of a trainer about its course.

    Attributes:
        checkpoint: digest of the one that it is about.
        what: one sentence.
        problem, model: of an answer, by its number in the file; None: it is about all of them.
    """

    checkpoint: bytes
    what: str
    problem: int | None = None
    model: GateModel | None = None

    def __str__(self) -> str:
        named = f"checkpoint {self.checkpoint.hex()[:16]}…"
        if self.problem is not None and self.model is not None:
            named += f", problem {self.problem}, answer of {_NAMES[self.model]}"
        return f"{named}: {self.what}"


_NAMES = {
    GateModel.OWN: "the checkpoint",
    GateModel.MILESTONE: "the milestone",
    GateModel.FIRST: "the first checkpoint",
}


# --- by the chain


@dataclass(frozen=True, slots=True)
class DueCounts:
    """The checkpoints of a course that were in force before a later one was.

    Attributes:
        runs: by number, each from the first window on in which it was in force.
        unknown: digests of checkpoints that were in force and whose manifests cannot be had.
        until: the first window in which the later one is in force; if it is not, the last one.
    """

    runs: Sequence[Run]
    unknown: Sequence[bytes]
    until: int


def list_due(
    windows: CourseWindows,
    get_outline: GetOutline,
    carried: Course,
    gate: Gate,
    own: bytes,
    since: int | None,
    window: int,
) -> DueCounts:
    """The checkpoints that a manifest may add to the counts that it carries on: those of its course
    that were in force before it was.

    Args:
        carried: the course that its parent leads to.
        own: the digest of its checkpoint.
        since: the last window up to which all are counted; None: it is not known, and neither what
            lies behind the milestone's own window.
        window: one in which its checkpoint is in force.

    Raises:
        ChainError: the chain cannot be read, or not so far back.
    """
    known = {carried.milestone, *(one.checkpoint for one in carried.counts)}
    found: dict[bytes, tuple[int, Run]] = {}
    unknown: dict[bytes, None] = {}
    for run in windows.iterate_back(window):
        begins = since is None or run.window <= since
        if run.digest in known and begins:
            break
        if run.digest == own:  # what was in force behind its first window is its child's to count
            window = run.window
            found.clear()
            unknown.clear()
        elif run.digest != ZERO_DIGEST and run.digest not in known:
            try:
                manifest = get_outline(run.digest).manifest
            except CheckpointError:
                unknown[run.digest] = None
            else:
                if is_of_course(run.digest, manifest.course, carried, gate):
                    found[run.digest] = manifest.number, run
                elif begins and _begins(manifest, carried, gate):
                    break
        if since is not None and begins:
            break
    runs = [run for _, run in sorted(found.values(), key=_by_number)]
    return DueCounts(runs, list(unknown), window)


def _by_number(one: tuple[int, Run]) -> tuple[int, int]:
    return one[0], one[1].window


def _begins(manifest: Manifest, carried: Course, gate: Gate) -> bool:
    """Whether a course begins behind this checkpoint: a return, or the first one."""
    led = continue_line(manifest, gate)
    return (led.milestone, led.attempt) == (carried.milestone, carried.attempt)


def find_chain_faults(
    added: Sequence[GateCounts], due: DueCounts, last: int | None, allowed: int | None = LATE_MAX
) -> list[CourseFault]:
    """What the chain says against the counts that a manifest adds.

    Args:
        last: the window of its record, up to which all are counted. None: it is not known.
        allowed: of those behind it, so many, the newest, may lack. None: all, where the checkpoint
            was never in force itself, and may have been made at any time behind that window.
    """
    runs = {run.digest: run.window for run in due.runs}
    late = [digest for digest, begun in runs.items() if last is None or begun > last]
    late.sort(key=lambda digest: -runs[digest])
    late = late[:allowed]
    counted = [one.checkpoint for one in added]
    faults = [
        CourseFault(digest, "it is counted, and was not in force since its parent's counts")
        for digest in counted
        if digest not in runs and digest not in due.unknown
    ]
    faults += [
        CourseFault(digest, "it is counted, and nobody has its manifest")
        for digest in counted
        if digest in due.unknown
    ]
    faults += [
        CourseFault(
            digest,
            f"it is left out of a later checkpoint's counts: it was in force in window {begun}",
        )
        for digest, begun in runs.items()
        if digest not in counted and digest not in late
    ]
    order = [digest for digest in runs if digest in counted]
    if [digest for digest in counted if digest in runs] != order:
        wrong = next(d for d, right in zip(counted, order, strict=False) if d != right)
        faults.append(CourseFault(wrong, "it is counted in the place of an earlier checkpoint"))
    return faults


# --- by the manifests


def find_return_fault(manifest: Manifest, milestone: Manifest) -> str | None:
    """What is wrong with a return beside its milestone, or None."""
    own = {name: getattr(manifest, name) for name in ("number", "parent", "step", "course")}
    due = replace(milestone, levels_before=milestone.levels, held_out=(), **own)
    other = [
        field.name
        for field in fields(due)
        if getattr(manifest, field.name) != getattr(due, field.name)
    ]
    return f"it is a return, and has other {', '.join(other)} than its milestone" if other else None


# --- by the answers


@dataclass(frozen=True, slots=True)
class AskedGate:
    """What a checkpoint was asked, and those beside it.

    Attributes:
        outline: of the checkpoint.
        models: whose answers its file has.
    """

    parameters: Parameters
    environment: Environment
    problems: GateProblems
    outline: Outline
    models: dict[GateModel, bytes]


def ask_again(
    parameters: Parameters,
    digest: bytes,
    randomness: bytes,
    milestone: bytes,
    get_outline: GetOutline,
) -> AskedGate:
    """Draw a checkpoint's problems again.

    Args:
        randomness: see `CourseWindows.get_randomness`, of the first window in which it was in
            force.

    Raises:
        CheckpointError: one of the manifests cannot be had.
        ValueError: the environment cannot be opened here, or has none of these levels.
        WorkerError: the sandbox cannot run.
    """
    models = dict(zip(GateModel, (digest, milestone, parameters.first_checkpoint), strict=True))
    outlines = {model: get_outline(named) for model, named in models.items()}
    environment = open_gate_environment(parameters)
    first, beside = (
        outlines[model].manifest.level_numbers for model in (GateModel.FIRST, GateModel.MILESTONE)
    )
    levels = list_gate_levels(environment, first, beside)
    seed = compute_gate_seed(digest, randomness)
    problems = draw_gate_problems(environment, seed, levels, parameters.gate.problems)
    return AskedGate(parameters, environment, problems, outlines[GateModel.OWN], models)


def open_answers(asked: AskedGate, counts: GateCounts, data: bytes) -> GateAnswers | CourseFault:
    """The answers in a file that a manifest names, or what is wrong with the file. Raises
    WorkerError: no child can be started to read it."""
    if sha256(data).digest() != counts.answers:
        return CourseFault(counts.checkpoint, "its gate.parquet has another SHA-256 than it says")
    parameters, vocabulary = asked.parameters, len(asked.outline.tokenizer.drawable)
    try:
        return read_answers(data, parameters.gate, parameters.work.max_tokens, vocabulary)
    except EncodingError as error:
        return CourseFault(counts.checkpoint, f"its gate.parquet cannot be read: {error}")


def find_false_counts(
    asked: AskedGate, counts: GateCounts, answers: GateAnswers
) -> CourseFault | None:
    """The fault of counts that do not follow from the answers, or None. No model is run."""
    problems = asked.problems
    rights = (
        score_answers(asked.outline, asked.environment, asked.parameters.work, part, given)
        for part, given in (
            (problems, answers.own),
            (problems, answers.milestone),
            (select_first_problems(problems), answers.first),
        )
    )
    found = count_gate(*rights)
    stated = counts.wins, counts.losses, counts.first_wins, counts.first_losses
    if found == stated and counts.asked == len(problems):
        return None
    return CourseFault(
        counts.checkpoint,
        f"its answers make {_describe(found)}, and the manifest says {_describe(stated)}",
    )


def _describe(counts: tuple[int, int, int, int]) -> str:
    wins, losses, first_wins, first_losses = counts
    beside = f"{first_wins} and {first_losses} beside the first checkpoint"
    return f"{wins} wins and {losses} losses ({beside})"


def find_forged_answers(
    asked: AskedGate,
    answers: GateAnswers,
    model: GateModel,
    checkpoint: Checkpoint,
    chosen: Collection[int] | None = None,
) -> list[CourseFault]:
    """The answers of one model that are not its own keyed draws. `chosen`: numbers of problems;
    None: all."""
    parts = asked.environment, asked.parameters, asked.problems, answers, chosen
    return [
        CourseFault(asked.outline.manifest.digest, one.fault.detail, one.problem, one.model)
        for one in find_forged({model: checkpoint}, *parts)
    ]
