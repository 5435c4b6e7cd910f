"""What an owner should know about a network's environment and prompts before it is published."""

from pathlib import Path

from assay.environments import list_unearned, open_environment
from assay.inference import Outline
from assay.inference.folder import read_config
from assay.inference.tokenizing.seen_prompts import see_prompts, summarize_warnings
from assay.protocol import Domain, Parameters, hash_fields

#: Problems that are looked at.
_PROBLEMS = 64


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
