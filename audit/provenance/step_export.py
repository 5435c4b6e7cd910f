"""Accepted rollouts as a data set that `datasets` loads: Parquet files and a data card.

Source: the steps that a trainer keeps (`steps`), each checked against its record. Reward parts are
computed again from the problem's seed; the reward that was learned from must follow from them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.checkpoints.checkpoint_folder import CheckpointFolder
from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.steps.step_file import ConsumedGroup, open_step_parser
from assay.artifacts.steps.step_folder import Step, StepError, read_step, read_taken
from assay.audit.provenance.consumed import describe_group, make_problem_of, verify_provenance
from assay.environments import (
    Environment,
    Problem,
    RewardWeights,
    compute_reward,
    get_weights,
    open_environment,
)
from assay.inference import CheckpointError
from assay.inference.tokenizing.folder_tokenizer import FolderTokenizer
from assay.network import open_folder
from assay.network.files import replace_file, write_file
from assay.neurons.trainer.trainer_setup import read_config
from assay.protocol import Parameters, encode_ss58
from assay.protocol.errors import OperatorError
from assay.training import compute_advantages

#: Column → type and what it is: the schema, and the data card's table.
_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "prompt": (pa.string(), "what was asked"),
    "completion": (pa.string(), "what was answered, without the end token"),
    "reward": (pa.float64(), "what was learned from, 0 to 1"),
    "correctness": (pa.float64(), "part of the reward, 0 to 1"),
    "quality": (pa.float64(), "part of the reward, 0 to 1"),
    "satisfaction": (pa.float64(), "part of the reward, 0 to 1"),
    "advantage": (
        pa.float64(),
        "as learned with: the reward against its group's; null where the group's are "
        "all equal, and it taught nothing",
    ),
    "level": (pa.uint32(), "of the problem"),
    "prompt_tokens": (pa.list_(pa.uint32()), "token ids of the prompt"),
    "tokens": (pa.list_(pa.uint32()), "token ids of the completion, end token included"),
    "logprobs": (
        pa.list_(pa.float32()),
        "natural logarithm of each token's probability under `checkpoint`, "
        "as the trainer computed it",
    ),
    "window": (pa.uint64(), "in which it was generated"),
    "hotkey": (pa.string(), "who generated it, SS58"),
    "group": (pa.uint32(), "index of the problem among the hotkey's"),
    "rollout": (pa.uint32(), "index within the group"),
    "checkpoint": (pa.string(), "digest of the model that generated it"),
    "problem_seed": (pa.string(), "from which the environment makes the problem"),
    "step": (pa.uint64(), "number of the checkpoint learned from it"),
    "step_record": (pa.string(), "digest of that step's record"),
    "proof": (
        pa.string(),
        "root of the submission, as committed on chain: `group` and `rollout` say "
        "where in it; zeros for the trainer's own",
    ),
}
_SCHEMA = pa.schema([(name, kind) for name, (kind, _) in _COLUMNS.items()])


class ExportError(OperatorError):
    """There is nothing to export, or nowhere to."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was exported."""

    steps: int
    groups: int
    rollouts: int
    windows: tuple[int, int]


def export_steps(
    folder: Path, out: Path, windows: range, say: Callable[[str], None] = lambda line: None
) -> Summary:
    """Writes `data/*.parquet`, one a step, and README.md, last.

    Args:
        folder: with `steps` and `models`.
        windows: those whose steps are taken.

    Raises:
        ExportError: there are no such steps, or `out` cannot be written or holds something.
        StepError: a step's files are not whole.
        OperatorError: tokenizer or parameters are not here.
    """
    if not folder.is_dir():
        raise ExportError(f"there is no folder {folder}: --dir names a trainer's")
    steps = [read_step(path) for path in sorted((folder / "steps").glob("step-*.json"))]
    steps = [step for step in steps if step.record.window in windows]
    if not steps:
        raise ExportError(
            f"{folder / 'steps'} has no steps of these windows: --dir names a trainer's folder"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ExportError(f"{out} is not empty: name another folder")
        checkpoints = CheckpointFolder(folder / "models")
        groups = rollouts = 0
        with open_step_parser() as parser:
            for step in steps:
                taken = read_taken(step, parser)
                table = pa.Table.from_pylist(list(_make_rows(step, taken, checkpoints)), _SCHEMA)
                with replace_file(out / "data" / f"{step.path.stem}.parquet") as temporary:
                    pq.write_table(table, temporary, compression="zstd")
                groups += len(taken)
                rollouts += len(table)
                number, window = step.record.number, step.record.window
                say(f"step {number}: {len(table)} rollouts of window {window}")
        covered = [step.record.window for step in steps]
        summary = Summary(len(steps), groups, rollouts, (min(covered), max(covered)))
        write_file(out / "README.md", _make_card(summary, steps).encode())
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error}") from None
    return summary


def _make_rows(
    step: Step, taken: Sequence[ConsumedGroup], checkpoints: CheckpointFolder
) -> Iterator[dict[str, Any]]:
    record = step.record
    parameters = fetch_parameters(open_folder(step.path.parent / "rules"), record.parameters)
    environment = open_environment(parameters.environment)
    weights = get_weights(parameters.environment)
    tokenizer = _find_tokenizer(step, parameters, checkpoints)
    scaled = read_config(record).scaled
    verify_provenance(record, taken, parameters.identity.trainer)
    for one in taken:
        problem = make_problem_of(one, parameters, tokenizer)
        advantages = compute_advantages(one.group.rewards, scaled=scaled)
        for rollout in range(len(one.group.rewards)):
            yield {
                "advantage": None if advantages is None else advantages[rollout],
                "logprobs": one.group.behaviour_logprobs[rollout],
                "prompt_tokens": one.group.prompt,
                "window": one.window,
                "hotkey": encode_ss58(one.hotkey),
                "group": one.index,
                "rollout": rollout,
                "checkpoint": one.checkpoint.hex(),
                "problem_seed": one.problem_seed.hex(),
                "step": record.number,
                "step_record": record.digest.hex(),
                "proof": one.proof.hex(),
            } | _score(one, rollout, problem, environment, weights, tokenizer)


def _score(
    one: ConsumedGroup,
    rollout: int,
    problem: Problem,
    environment: Environment,
    weights: RewardWeights,
    tokenizer: FolderTokenizer,
) -> dict[str, Any]:
    text = tokenizer.decode(one.group.completions[rollout])
    parts, reward = environment.score(problem, text), one.group.rewards[rollout]
    if compute_reward(parts, weights) != reward:
        raise StepError(
            f"{describe_group(one)}, rollout {rollout}: the reward that was learned from is not "
            "what the environment gives"
        )
    return {
        "prompt": problem.prompt,
        "completion": text,
        "level": problem.level,
        "tokens": one.group.completions[rollout],
        "reward": reward / 1e6,
        "correctness": parts.correctness / 1e6,
        "quality": parts.quality / 1e6,
        "satisfaction": parts.satisfaction / 1e6,
    }


def _find_tokenizer(
    step: Step, parameters: Parameters, checkpoints: CheckpointFolder
) -> FolderTokenizer:
    """Of any checkpoint of the course: all have the genesis' tokenizer."""
    error: CheckpointError | None = None
    for digest in (parameters.identity.genesis_checkpoint, step.record.parent, step.child):
        try:
            return checkpoints.get(digest).tokenizer
        except CheckpointError as failure:
            error = failure
    raise ExportError(f"the tokenizer is in no checkpoint here: {error}")


def _make_card(summary: Summary, steps: Sequence[Step]) -> str:
    """README.md with the front matter that the `datasets` library reads."""
    rows = "\n".join(f"| {name} | {kind} | {what} |" for name, (kind, what) in _COLUMNS.items())
    records = "\n".join(
        f"| {s.record.number} | {s.record.window} | {s.record.groups} | `{s.record.digest.hex()}` "
        f"| `{s.child.hex()}` |"
        for s in steps
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
says.

| column | type | what |
|---|---|---|
{rows}

| step | window | groups | record | checkpoint made |
|---|---|---|---|---|
{records}
"""
