"""What an owner should know about a network's environment and prompts before it is published."""

from pathlib import Path

from assay.environments import list_unearned, open_environment
from assay.inference import Outline
from assay.inference.folder import read_config
from assay.inference.tokenizing.seen_prompts import see_prompts, summarize_warnings
from assay.protocol import Domain, Parameters, hash_fields
from assay.protocol.parameters import MILLION, Work

#: Problems that are looked at.
_PROBLEMS = 64
#: What a cheat adapts to, in uniform draws (docs/security.md).
_MARGIN = 1.3


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
    length, in lines."""
    if work.turns == 1:
        return []
    notes = []
    dearer = work.position_share * (work.context - work.max_tokens) / MILLION  # D - 1
    uniform = work.audited_rollouts - work.valued_groups
    if dearer + _MARGIN >= uniform:
        notes.append(
            f"replies may make own tokens {1 + dearer:.1f} times as dear as their pay, and "
            f"{uniform} rollouts drawn uniformly, audited_rollouts - valued_groups, suffice for "
            f"{max(0.0, 1 + uniform - _MARGIN):.1f}: lower work.context, or work.valued_groups"
        )
    paid = 1 + work.prompt_share * work.paid_reply / (1_000 * MILLION)
    if paid > work.valued_groups - 1:
        notes.append(
            f"a rollout's replies may pay it {paid:.1f} times its part in the draw, more than "
            "work.valued_groups - 1: lower work.paid_reply"
        )
    return notes


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
    return summarize_warnings(seen)
