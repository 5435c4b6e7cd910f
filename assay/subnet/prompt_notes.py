"""What an owner should know about a network's environment and prompts before it is published."""

from pathlib import Path

from assay.environments.registry import open_environment
from assay.environments.rewards import list_unearned
from assay.inference.checkpoint import Outline
from assay.inference.folder import read_config
from assay.inference.tokenizing.seen_prompts import see_prompts, summarize_warnings
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import MILLION, Parameters, Work

#: Problems that are looked at.
_PROBLEMS = 64
#: What a cheat adapts to, in millionths of a uniform draw (docs/security.md).
_MARGIN = 1_300_000


def list_environment_notes(parameters: Parameters) -> list[str]:
    """What is probably wrong with pay and turns by this environment, in lines. Raises ValueError as
    below."""
    environment, turns = open_environment(parameters.environment), parameters.work.turns
    notes = list_unearned(parameters.rewards, environment.rated)
    if environment.turns > turns:
        notes.append(
            f"the worlds of {environment.name} want up to {environment.turns} turns, but "
            f"parameters.work.turns = {turns} ends each episode there"
        )
    return notes + list_reply_notes(parameters.work)


def list_reply_notes(work: Work) -> list[str]:
    """Where replies may be worth a fake, by the bound of docs/security.md for rollouts of mean
    length, with values that would hold it, in lines."""
    if work.turns == 1:
        return []
    notes = []
    dearer = work.position_share * (work.context - work.max_tokens)  # D - 1, millionths
    uniform = work.audited_rollouts - work.valued_groups
    left = uniform * MILLION - _MARGIN
    if dearer >= left:
        drawn = (dearer + _MARGIN) // MILLION + 1  # uniform draws that suffice
        changes = [f"work.audited_rollouts = {work.valued_groups + drawn} or more"]
        if drawn < work.audited_rollouts:
            changes.insert(0, f"work.valued_groups = {work.audited_rollouts - drawn} or less")
        if left > 0:  # so something is dearer, and the share is not 0
            context = work.max_tokens + (left - 1) // work.position_share
            changes.insert(0, f"work.context = {context} or less")
        notes.append(
            f"replies may make own tokens {1 + dearer / MILLION:.1f} times as dear as their pay, "
            f"and {uniform} rollouts drawn uniformly, audited_rollouts - valued_groups, suffice "
            f"for {max(0.0, 1 + left / MILLION):.1f}: {_join(changes)}"
        )
    paid = work.prompt_share * work.paid_reply  # λ - 1, 10^-9
    groups = -(-paid // (1_000 * MILLION)) + 2
    if work.valued_groups < groups:
        changes = [f"work.valued_groups = {groups} or more"]
        if work.valued_groups > 1:
            most = (work.valued_groups - 2) * 1_000 * MILLION // work.prompt_share
            changes.insert(0, f"work.paid_reply = {most}{' or less' if most else ''}")
        notes.append(
            f"a rollout's replies may pay it {1 + paid / (1_000 * MILLION):.1f} times its part in "
            f"the draw, more than work.valued_groups - 1: {_join(changes)}"
        )
    return notes


def _join(changes: list[str]) -> str:
    return f"{', or '.join(changes)} would do"


def list_prompt_notes(checkpoint: Outline, folder: Path, parameters: Parameters) -> list[str]:
    """What is probably wrong with prompts of the environment, in lines.

    Args:
        folder: of the checkpoint.

    Raises:
        ValueError: the environment cannot be opened here.
    """
    environment, manifest = open_environment(parameters.environment), checkpoint.manifest
    seeds = (
        hash_fields(Domain.HELD_OUT, b"notes", number.to_bytes(4, "big"))
        for number in range(_PROBLEMS)
    )
    problems = [environment.make_problem(seed, manifest.level_numbers) for seed in seeds]
    seen = see_prompts(
        checkpoint.tokenizer,
        read_config(folder),
        manifest.end_tokens,
        problems,
        manifest.max_tokens,
    )
    notes = summarize_warnings(seen)
    work, lengths = parameters.work, [len(one.ids) for one in seen]
    crowded = [length for length in lengths if length + manifest.max_tokens >= work.context]
    if work.turns > 1 and crowded:
        notes.append(
            f"{len(crowded)} of {len(seen)} prompts: their worlds never reply, because the prompt, "
            f"up to {max(crowded)} tokens, and max_tokens = {manifest.max_tokens} fill "
            f"work.context = {work.context}"
        )
    return notes
