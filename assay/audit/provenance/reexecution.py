"""Repeats a training step from its folder: the result is equal, or the first tensor that differs.

Rewards are computed and the trainer's own groups generated again. `assay.audit.provenance` shows
that the miners' groups are those that they committed to, and that their log-probabilities are
right.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from assay.artifacts.checkpoints.adapter import make_adapter, name_adapter
from assay.artifacts.checkpoints.folder import CheckpointFolder, measure_manifest
from assay.artifacts.checkpoints.pool_file import name_pool
from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.steps.delay import Tally
from assay.artifacts.steps.examples import read_examples
from assay.artifacts.steps.file import ConsumedGroup, list_lessons
from assay.artifacts.steps.folder import (
    Step,
    StepError,
    StepFolder,
    digest_tensors_of,
    read_state_before,
    read_step,
    read_step_groups,
)
from assay.artifacts.steps.learner import make_learner
from assay.artifacts.steps.pool import DrawnBy
from assay.audit.provenance.behind_returns import find_across, find_false_beginning
from assay.audit.provenance.choice import find_false_choice, plan_again
from assay.audit.provenance.consumed import (
    describe_group,
    find_disorder,
    find_false_group,
    list_bound,
    verify_provenance,
)
from assay.audit.provenance.delays import find_false_delay, read_beside
from assay.environments.pieces.growth import describe_difference, read_pool
from assay.environments.pooling import has_twin, is_proposing
from assay.environments.steering import compute_next_levels
from assay.inference.checkpoint import Checkpoint
from assay.inference.expert_stacks import split_experts
from assay.inference.placement import Placement
from assay.network.store.folder import open_folder
from assay.protocol.gate import find_course_fault
from assay.protocol.manifest import LevelSuccess, find_line_lie
from assay.protocol.parameters import Parameters
from assay.protocol.step import StepRecord
from assay.settings.learning import read_config
from assay.training import Group, Learner
from assay.training.held_out import count_held_out
from assay.training.last_bits import compute_code_digest, describe_engine

#: Most held-out problems that a record may name: as many as the settings allow.
PROBLEMS_TRIED_MAX = 100_000
#: Most threads that a record may name: as many as the settings allow.
THREADS_MAX = 1_024
#: The difference, and the tensor if it is one.
_Difference = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class StepComparison:
    """The result of repeating a step."""

    equal: bool
    #: the first, by name, that differs; None if all are equal, or the new checkpoint is not here to
    #: be compared
    tensor: str | None
    detail: str  # one sentence
    #: differences of this machine from the one that made the step, which may cause other last bits,
    #: and what could not be compared
    remarks: tuple[str, ...]
    #: of an equal step, delayed groups whose tries are the trainer's word, as a step is missing
    uncounted: int = 0


def reexecute(
    step: Step,
    checkpoints: CheckpointFolder,
    say: Callable[[str], None] = lambda line: None,
    is_derived: bool = False,
) -> StepComparison:
    """Repeat a step and compare.

    Args:
        checkpoints: with the parent, and the new one if a tensor is to be named.
        say: called with the current activity.
        is_derived: seeds and levels of the miners' groups are those that challenges ask.

    Raises:
        StepError: the initial state of the step is not here.
        CheckpointError: the parent is not here, or damaged; or the parameters name another version
            of the library than is installed.
        OperatorError: parameters or a needed extra are missing.
    """
    record = step.record
    groups, remarks = open_step(step, checkpoints)
    parameters = _fetch_parameters(step)
    parent = checkpoints.get(record.parent, parameters)
    drawn = DrawnBy(parameters, parent, checkpoints)
    false = find_false_group(record, groups, parameters, parent.manifest, drawn.find, is_derived)
    if false is not None:
        return StepComparison(False, None, false, remarks)
    false, unseen = find_false_beginning(step, parent.manifest)
    remarks += unseen
    if false is None:
        asked = groups, parent.manifest, drawn.find, checkpoints.get_outline, parameters.gate
        false, unseen = find_across(*asked)
        remarks += unseen
    if false is not None:
        return StepComparison(False, None, false, remarks)
    beside, tally = read_beside(step, groups, parameters, drawn), Tally(parameters, drawn)
    plan, remarks = plan_again(step, groups, parent, beside.line, tally), remarks + beside.remarks
    false = find_false_choice(record, groups, plan, parent, tally)
    false = false or _find_altered_replay(step, groups, parameters.identity.trainer)
    if false is None and beside.line is not None:
        false = find_false_delay(step, groups, beside.line, plan, tally)
    if false is not None:
        return StepComparison(False, None, false, remarks)
    child = _get_child(step, checkpoints, parameters)
    if child is not None and plan.pool != child.piece_pool:  # no machine makes another
        if not is_derived and (twin := _find_twin(record, groups, parameters, drawn)) is not None:
            raise StepError(
                f"{describe_group(twin)}: the pool is another by its problem's seed, and its "
                "prompt does not say which is right"
            )
        detail = f"the made checkpoint's pool is another: {_compare_pools(plan.pool, child)}"
        return StepComparison(False, None, detail, remarks)
    learner = make_learner_before(step, checkpoints)
    say(f"step {record.number}: repeating it with {record.groups} groups of window {record.window}")
    weights = learn_again(learner, groups, record.parent)
    finding = _compare_weights(record, weights, child)
    if finding is None and digest_tensors_of(learner.export_state()) != record.optimiser_after:
        finding = "the weights are equal, but the optimiser's state after the step differs", None
    if finding is None:
        say(f"step {record.number}: checking the levels of its checkpoint")
        adapter = make_adapter(learner.base, learner.export_factors())
        finding = _compare_manifests(step, parameters, parent, child, adapter, plan.pool)
    if finding is not None:
        return StepComparison(False, finding[1], finding[0], remarks)
    seen = (
        ""
        if child is not None
        else " (its folder is missing: compared with the record, levels with nothing)"
    )
    detail = f"the step makes checkpoint {record.number}{seen}"
    return StepComparison(True, None, detail, remarks, beside.uncounted)


def _find_altered_replay(step: Step, groups: Sequence[ConsumedGroup], trainer: bytes) -> str | None:
    """The first replayed group that is another than its own step has learned from, where that
    step's files are here, too; or None. Files whose rows do not fit their record are as missing
    ones: whoever gave them may have changed what no root binds."""
    record = step.record
    for window, digest, number in sorted(
        {(one.window, one.step, one.number) for one in record.replayed or ()}
    ):
        try:
            source = read_step(StepFolder(step.path.parent).get_path(number, digest))
            if source.record.digest != digest:
                continue
            known = read_step_groups(source)
            verify_provenance(source.record, known, trainer)
        except StepError:
            continue
        if (source.record.window, source.record.number) != (window, number):
            return f"step {number}, which is named for groups of window {window}, is not of it"
        if find_disorder(source.record, known, trainer) is not None:
            continue
        rows = {(one.hotkey, one.index): one for one in known if one.window == window}
        for one in groups:
            row = rows.get((one.hotkey, one.index))
            if one.window != window or one.delay is not None or row is None:
                continue
            if _list_kept(one) != _list_kept(row):
                return f"{describe_group(one)}: not as step {number} has learned from it"
    return None


def _list_kept(one: ConsumedGroup) -> tuple[object, ...]:
    """What a replayed group has as its own step had it, and is bound in both."""
    return (*list_bound(one), one.group.rewards, one.delay)


def read_fitting(step: Step) -> list[ConsumedGroup]:
    """A step's consumed groups, of windows and submissions that its record names. Raises StepError,
    OperatorError: as `reexecute`."""
    groups = read_step_groups(step)
    verify_provenance(step.record, groups, _fetch_parameters(step).identity.trainer)
    return groups


def open_step(
    step: Step, checkpoints: CheckpointFolder
) -> tuple[list[ConsumedGroup], tuple[str, ...]]:
    """A step's consumed groups, checked, and this machine's differences from the one that made it.
    From here on as many threads compute as its record names.

    Raises:
        StepError, CheckpointError: as `reexecute`.
    """
    groups = read_step_groups(step)
    remarks = _compare_places(step.record, checkpoints.placement)
    threads = step.record.threads
    if not 1 <= threads <= THREADS_MAX:
        raise StepError(f"the record names {threads:,} threads: 1 to {THREADS_MAX:,} may be")
    torch.set_num_threads(threads)
    return groups, remarks


def learn_again(
    learner: Learner, groups: Sequence[ConsumedGroup], parent: bytes
) -> dict[str, Tensor]:
    """Run the step itself. Return the weights that it makes, as published. Raises StepError: a
    group has an id that the model does not have.

    Args:
        parent: digest of the checkpoint that the step begins with.
    """
    model: Any = learner.model
    known = range(model.get_input_embeddings().num_embeddings)
    if any(id_ not in known for one in groups for id_ in _list_ids(one.group)):
        raise StepError("a consumed group has a token id that the model does not have")
    lessons, earlier = list_lessons(groups, parent)
    learner.learn(lessons, earlier=earlier)
    return learner.bf16_state()


def _list_ids(group: Group) -> Iterator[int]:
    replies = (reply.ids for replies in group.replies for reply in replies)
    return chain.from_iterable((group.prompt, *group.completions, *replies))


def _compare_weights(
    record: StepRecord, weights: Mapping[str, Tensor], child: Checkpoint | None
) -> _Difference | None:
    if child is not None and child.manifest.step != record.digest:
        return "the made checkpoint's manifest names another step record", None
    if digest_tensors_of(weights.items()) != record.tensors:
        tensor = None if child is None else _find_first_difference(weights, child)
        named = f"{tensor} differs" if tensor else "the tensors' root differs"
        return f"{named} from what the record says was made", tensor
    if child is not None and child.manifest.tensors != record.tensors:
        tensor = _find_first_difference(weights, child)
        return f"{tensor} of the made checkpoint differs", tensor
    return None


def _compare_manifests(
    step: Step,
    parameters: Parameters,
    parent: Checkpoint,
    child: Checkpoint | None,
    adapter: bytes | None,
    pool: bytes,
) -> _Difference | None:
    """Compare levels from held-out success, and the new checkpoint's manifest as a whole."""
    record, before = step.record, parent.manifest
    if record.number != before.number + 1:
        return (
            f"the record makes checkpoint {record.number}, and its parent is {before.number}",
            None,
        )
    if child is None:
        return None
    stated = child.manifest.held_out
    asked = sum(success.asked for success in stated)
    if asked > PROBLEMS_TRIED_MAX:
        raise StepError(f"the manifest names {asked:,} held-out problems: more than anybody asks")
    counts = count_held_out(parent, parameters, asked) if asked else ()
    if counts != stated:
        claim, count = describe_counts(stated), describe_counts(counts)
        return (
            f"of the held-out problems the parent solves {count}; the manifest says {claim}",
            None,
        )
    if lie := find_line_lie(child.manifest, before, parameters.gate):
        return f"the made checkpoint's manifest: {lie}", None
    if fault := find_course_fault(child.manifest.course, parameters.gate):
        return f"the made checkpoint's manifest: {fault}", None
    expected = replace(
        before,
        tensors=record.tensors,
        levels=compute_next_levels(parameters, before.levels, counts),
        levels_before=before.levels,
        held_out=counts,
        parent=parent.digest,
        step=record.digest,
        number=before.number + 1,
        files=name_adapter(name_pool(before.files, pool), adapter),
        course=child.manifest.course,  # whether its counts are right, the answers show
    )
    expected = measure_manifest(expected, child.folder)
    if expected == child.manifest and child.digest == step.child:
        return None
    names = [
        f.name
        for f in fields(expected)
        if getattr(expected, f.name) != getattr(child.manifest, f.name)
    ]
    return f"the made checkpoint's manifest has other {', '.join(names)}", None


def _find_twin(
    record: StepRecord, groups: Sequence[ConsumedGroup], parameters: Parameters, drawn: DrawnBy
) -> ConsumedGroup | None:
    """The first group whose proposals may be others by another seed: they get the pairs that its
    prompt does not show."""
    for one in groups:
        if one.window != record.window or one.hotkey == parameters.identity.trainer:
            continue
        environment = drawn.find(one).open_environment(parameters.environment)
        state = environment.open(environment.make_problem(one.problem_seed, one.levels))
        if is_proposing(state) and has_twin(state):
            return one
    return None


def _compare_pools(due: bytes, child: Checkpoint) -> str:
    try:
        return describe_difference(read_pool(due), read_pool(child.piece_pool))
    except ValueError as error:
        return str(error)


def describe_counts(counts: Sequence[LevelSuccess]) -> str:
    """Held-out success in words, by level."""
    parts = (f"{c.solved} of {c.asked} of level {c.level}, {c.mixed} mixed" for c in counts)
    return "; ".join(parts) or "none of none"


def _fetch_parameters(step: Step) -> Parameters:
    return fetch_parameters(open_folder(step.path.parent / "rules"), step.record.parameters)


def make_learner_before(step: Step, checkpoints: CheckpointFolder) -> Learner:
    """The learner's state before the step. Raises StepError, CheckpointError, OperatorError: as
    `reexecute`."""
    record, parameters = step.record, _fetch_parameters(step)

    def get(digest: bytes) -> Checkpoint:
        return checkpoints.get(digest, parameters)

    def get_first() -> Checkpoint:
        return get(parameters.identity.genesis_checkpoint)

    config, parent = read_config(record), get(record.parent)
    examples = read_examples(step.path.parent, config.choice, parent)
    learner = make_learner(parent, config.learning, get_first, get, examples)
    state = read_state_before(step)
    if state is not None:
        try:
            learner.import_state(state)
        except (LookupError, RuntimeError, ValueError) as error:
            raise StepError(
                f"the kept state before the step is of another model: {error}"
            ) from None
    if digest_tensors_of(learner.export_state()) != record.optimiser_before:
        fault = "is not what the record says" if state is not None else "is not kept here"
        raise StepError(
            f"the optimiser's state before step {record.number} {fault}: a trainer keeps those of "
            "its last steps (steps_kept), and uploads them if it is told to (publish_states)"
        )
    return learner


def _get_child(
    step: Step, checkpoints: CheckpointFolder, parameters: Parameters
) -> Checkpoint | None:
    """The new checkpoint, or None if it is not here. A damaged one is never ignored."""
    return checkpoints.get(step.child, parameters) if checkpoints.holds(step.child) else None


def _find_first_difference(weights: Mapping[str, Tensor], child: Checkpoint) -> str | None:
    theirs = {
        name: part.to(torch.bfloat16)
        for whole, weight in child.model.state_dict().items()
        for name, part in split_experts(child.model.config.model_type, whole, weight)
    }
    for name in sorted(weights.keys() | theirs.keys()):
        ours, their = weights.get(name), theirs.get(name)
        if ours is None or their is None or not torch.equal(ours, their):
            return name
    return None


def _compare_places(record: StepRecord, placement: Placement) -> tuple[str, ...]:
    remarks = []
    engine = describe_engine(torch.device(placement.device))
    if engine != record.engine:
        remarks.append(f"made with {record.engine}, repeated with {engine}")
    if compute_code_digest() != record.code:
        remarks.append("the learner's source files differ from those it was made with")
    return tuple(remarks)
