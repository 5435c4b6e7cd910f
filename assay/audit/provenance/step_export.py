"""Exports accepted rollouts as a data set that `datasets` loads: Parquet files and a data card.

Source: the steps that a trainer keeps (`steps`), each checked against its record. Reward parts are
computed again from the problem's seed, and must add up to the reward that was learned from.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.steps.delay import rate_parts
from assay.artifacts.steps.file import ConsumedGroup, open_step_parser
from assay.artifacts.steps.folder import Step, StepError, read_step, read_step_groups
from assay.artifacts.steps.pool import DrawnBy
from assay.audit.provenance.column_layouts import LAYOUTS, ColumnLayout
from assay.audit.provenance.consumed import describe_group, replay_group, verify_provenance
from assay.environments.base import Manner, Problem, RewardParts
from assay.environments.registry import draws_from_pool
from assay.environments.scoring import run_all
from assay.inference.checkpoint import Outline
from assay.inference.folder import CheckpointError
from assay.inference.tokenizing.reply_frames import find_role
from assay.network.files import replace_file, write_file
from assay.network.store.folder import open_folder
from assay.protocol.episode import Reply, weave
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import Parameters
from assay.protocol.ss58 import encode_ss58
from assay.settings.learning import read_config
from assay.training import compute_advantages
from assay.verification.episodes import Episode
from assay.verification.replies import cut_reply


class ExportError(OperatorError):
    """There is nothing to export, or no place to write to."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The exported files and their sizes."""

    steps: int
    groups: int
    rollouts: int
    windows: tuple[int, int]


def read_steps(folder: Path, windows: range) -> list[Step]:
    """A trainer's steps of these windows, in order, without those that it has put aside: killed
    before it had saved one, and started again with other settings, it makes another in its place.

    Raises:
        ExportError: there are none.
        StepError: a record cannot be read.
    """
    steps = [read_step(path) for path in sorted((folder / "steps").glob("step-*.json"))]
    parents = {step.record.parent for step in steps}
    followed = {step.record.number for step in steps if step.child in parents}
    steps = [step for step in steps if step.child in parents or step.record.number not in followed]
    steps = [step for step in steps if step.record.window in windows]
    if not steps:
        raise ExportError(
            f"{folder / 'steps'} has no steps of these windows: --dir names a trainer's folder"
        )
    return steps


def export_steps(
    folder: Path,
    out: Path,
    windows: range,
    say: Callable[[str], None] = lambda line: None,
    columns: str = "assay",
) -> Summary:
    """Write `data/*.parquet`, one for each step, and README.md last.

    Args:
        folder: with `steps` and `models`.
        windows: windows whose steps are exported.
        columns: a name in `LAYOUTS`: the intended reader.

    Raises:
        ExportError: there are no such steps, or `out` cannot be written or is not empty.
        StepError: a step's files are incomplete.
        OperatorError: tokenizer or parameters are not here.
    """
    steps, layout = read_steps(folder, windows), LAYOUTS[columns]
    schema = pa.schema([(name, kind) for name, (kind, _) in layout.columns.items()])
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ExportError(f"{out} is not empty: name another folder")
        checkpoints = CheckpointFolder(folder / "models")
        groups, rollouts = list[int](), 0
        with open_step_parser() as parser:
            for step in steps:
                consumed = read_step_groups(step, parser)
                rows = [layout.lay_out(row) for row in make_rows(step, consumed, checkpoints)]
                table = pa.Table.from_pylist(rows, schema)
                with replace_file(out / "data" / f"{step.path.stem}.parquet") as temporary:
                    pq.write_table(table, temporary, compression="zstd")
                groups.append(sum(one.lesson is not None for one in consumed))
                rollouts += len(table)
                number, window = step.record.number, step.record.window
                say(f"step {number}: {len(table)} rollouts of window {window}")
        covered = [step.record.window for step in steps]
        summary = Summary(len(steps), sum(groups), rollouts, (min(covered), max(covered)))
        write_file(out / "README.md", _make_card(summary, steps, groups, layout).encode())
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error}") from None
    return summary


def make_rows(
    step: Step, groups: Sequence[ConsumedGroup], checkpoints: CheckpointFolder
) -> Iterator[dict[str, Any]]:
    """What a step learned from, one rollout at a time, with the columns of `ROLLOUT`. It consumes
    more where groups wait for their reward, or rollouts of delayed ones do not count.

    Raises:
        StepError: it is inconsistent with the record, a group is not one of the network's, or the
            environment gives other replies or another reward.
        OperatorError: tokenizer or parameters are not here.
    """
    record = step.record
    parameters = fetch_parameters(open_folder(step.path.parent / "rules"), record.parameters)
    checkpoint = _find_checkpoint(step, parameters, checkpoints)
    scaled, roles = read_config(record).learning.scaled, dict[Manner, str]()
    verify_provenance(record, groups, parameters.identity.trainer)
    drawn = DrawnBy(parameters, checkpoint, checkpoints)
    for one in groups:
        checkpoint = drawn.find(one)
        played = replay_group(one, parameters, checkpoint)
        if isinstance(played, str):
            raise StepError(f"{describe_group(one)}: {played}")
        problem, rollouts = played
        advantages = _list_advantages(one, scaled)
        if problem.manner not in roles:
            roles[problem.manner] = find_role(checkpoint.tokenizer, problem.manner)
        spoken = _list_turns(one, problem, roles[problem.manner], rollouts, parameters, checkpoint)
        rated = rate_parts(one, [parts for _, parts in rollouts])
        for rollout, advantage in zip(one.counting, advantages, strict=True):
            yield {
                "prompt": problem.prompt,
                "messages": list_messages(problem),
                "tools": problem.conversation.tools or None,
                "turns": spoken[rollout],
                "level": problem.level,
                "reward": one.group.rewards[rollout] / 1e6,
                "advantage": advantage,
                "logprobs": one.group.behaviour_logprobs[rollout],
                "prompt_tokens": one.group.prompt,
                "environment": parameters.environment.name,
                "temperature": parameters.work.temperature / 1024,
                "window": one.window,
                "hotkey": encode_ss58(one.hotkey),
                "group": one.index,
                "rollout": rollout,
                "checkpoint": one.checkpoint.hex(),
                "problem_seed": one.problem_seed.hex(),
                "levels": one.levels,
                "step": record.number,
                "step_record": record.digest.hex(),
                "proof": one.proof.hex(),
                **_describe_score(rated[rollout]),
                **_describe_spans(
                    one.group.completions[rollout], one.group.replies[rollout], checkpoint
                ),
            }


def _list_advantages(one: ConsumedGroup, scaled: bool) -> Sequence[float | None]:
    """The advantage of each rollout that a group's step learned from; None: it taught nothing."""
    lesson = one.lesson
    found = None if lesson is None else compute_advantages(lesson.rewards, scaled=scaled)
    return [None] * len(one.counting) if found is None else found


def list_messages(problem: Problem) -> list[dict[str, str]] | None:
    """All messages of what is asked; None: its prompt is the only one."""
    messages = problem.conversation.messages
    return [asdict(one) for one in messages] if len(messages) > 1 else None


def _describe_score(parts: RewardParts) -> dict[str, float]:
    names = ("correctness", "quality", "satisfaction", "format")
    return {name: getattr(parts, name) / 1e6 for name in names}


def _describe_spans(
    tokens: list[int], replies: Sequence[Reply], checkpoint: Outline
) -> dict[str, Any]:
    sequence, _ = weave(tokens, replies)
    return {
        "completion": checkpoint.tokenizer.decode(sequence),
        "tokens": tokens,
        "replies_at": [reply.at for reply in replies],
        "replies": [list(reply.ids) for reply in replies],
    }


def _list_turns(
    one: ConsumedGroup,
    problem: Problem,
    role: str,
    rollouts: Sequence[tuple[Episode, RewardParts]],
    parameters: Parameters,
    checkpoint: Outline,
) -> list[list[dict[str, str | None]] | None]:
    """For each rollout its turns, each with the world's reply to it, which has `role`; None: it
    has one turn."""
    environment = checkpoint.open_environment(parameters.environment)
    most_bytes = parameters.work.reply_bytes

    def talk(tokens: list[int], replies: Sequence[Reply]) -> list[dict[str, str | None]] | None:
        if not replies:
            return None
        state, turns = environment.open(problem), list[dict[str, str | None]]()
        for begin, end in pairwise([0, *(reply.at for reply in replies)]):
            text = checkpoint.tokenizer.decode(tokens[begin:end])
            state, reply = state.step(text, is_ended=True)
            turns.append({"text": text, "reply": cut_reply(reply or "", most_bytes), "role": role})
        last = checkpoint.tokenizer.decode(tokens[replies[-1].at :])
        return [*turns, {"text": last, "reply": None, "role": None}]

    return run_all(
        environment,
        [
            partial(talk, tokens, episode.replies)
            for tokens, (episode, _) in zip(one.group.completions, rollouts, strict=True)
        ],
    )


def _find_checkpoint(step: Step, parameters: Parameters, checkpoints: CheckpointFolder) -> Outline:
    """Any checkpoint of the course: all have the genesis' tokenizer and end tokens. Where problems
    are drawn from pools, the parent first: it shows whether there are any (`DrawnBy`)."""
    error: CheckpointError | None = None
    digests = (parameters.identity.genesis_checkpoint, step.child, step.record.parent)
    for digest in digests[::-1] if draws_from_pool(parameters.environment) else digests:
        try:
            return checkpoints.get_outline(digest)
        except CheckpointError as failure:
            error = failure
    raise ExportError(f"the tokenizer is in no checkpoint here: {error}")


def _make_card(
    summary: Summary, steps: Sequence[Step], groups: Sequence[int], layout: ColumnLayout
) -> str:
    """README.md with the front matter that the `datasets` library reads. `groups`: that each step
    learned from."""
    rows = "\n".join(
        f"| {name} | {kind} | {what} |" for name, (kind, what) in layout.columns.items()
    )
    records = "\n".join(
        f"| {s.record.number} | {s.record.window} | {count} | `{s.record.digest.hex()}` "
        f"| `{s.child.hex()}` |"
        for s, count in zip(steps, groups, strict=True)
    )
    first, last = summary.windows
    return f"""---
configs:
- config_name: default
  data_files: data/*.parquet
tags:
- reinforcement-learning
- grpo
---

# Rollouts accepted by an Assay trainer

{summary.rollouts:,} rollouts in {summary.groups:,} groups, from windows {first} to {last}: all that
{summary.steps:,} training steps learned from, and nothing else.

Each miner's rollout is the one valid sample of its checkpoint at its place: its noise follows from
a block hash, a public beacon, the checkpoint and the hotkey. The trainer judged every group by a
forward pass of its own before it learned from it, and computed rewards and log-probabilities
itself. `proof` is the root of the submission as its miner committed to it on chain.

Texts were written by models that were being trained: many answers are wrong, which `correctness`
says. Columns are named as {layout.reader} reads them.

| column | type | what |
|---|---|---|
{rows}

| step | window | groups | record | checkpoint made |
|---|---|---|---|---|
{records}
"""
