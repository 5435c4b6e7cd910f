"""`assay env sample`: problems as a miner gets them, and as a model sees them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from assay.cli.console import make_printable
from assay.cli.env import make_problem
from assay.environments import Environment, Problem, make_environment
from assay.neurons.settings.loading import ConfigError, open_named_environment

if TYPE_CHECKING:
    from assay.evaluation.model import EvaluatedModel


def run_env_sample(
    name: str,
    seed: str,
    count: int,
    levels: list[int] | None,
    hotkey: str | None,
    model: Path | None,
    prompts: Path | None,
    max_tokens: int,
    as_json: bool,
) -> None:
    """Print problems 0 to count − 1 of a seed."""
    environment = open_named_environment(name)
    if prompts is not None:
        environment = _put_otherwise(environment, prompts)
    problems = [
        make_problem(environment, seed, hotkey, levels, index) for index in range(count)
    ]  # all, before the first line is printed
    samples: list[dict[str, Any]] = [
        {"index": index, "prompt": problem.prompt, "level": problem.level}
        for index, problem in enumerate(problems)
    ]
    if model is not None:
        from assay.evaluation.model import open_folder

        opened = open_folder(model, has_weights=False)
        samples = [
            sample | _see(opened, problem, max_tokens)
            for sample, problem in zip(samples, problems, strict=True)
        ]
    if as_json:
        print(json.dumps(samples))
        return
    console = Console(highlight=False)
    for sample in samples:
        console.print(Text(f"{sample['index']}  level {sample['level']}", style="bold"))
        text = sample.get("text")
        console.print(Text(make_printable(text or sample["prompt"])), soft_wrap=True)
        if text is not None:
            console.print(f"{len(sample['ids'])} ids: {' '.join(map(str, sample['ids']))}")
        for warning in sample.get("warnings", ()):
            console.print(Text(f"warning: {make_printable(warning)}", style="yellow"))


def _put_otherwise(environment: Environment, file: Path) -> Environment:
    """The environment with the prompts of a file of changes."""
    from assay.subnet.presets import read_changes
    from assay.subnet.prompt_tables import read_prompts

    changes = read_changes(file).get("environment", {})
    if not isinstance(changes, dict) or "prompts" not in changes:
        raise ConfigError(f"{file} has no tables such as [environment.prompts.gsm]")
    name, settings = environment.name, environment.params
    try:
        return make_environment(name, settings, read_prompts(changes["prompts"], name, settings))
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from None


def _see(model: "EvaluatedModel", problem: Problem, max_tokens: int) -> dict[str, Any]:
    """The text and ids that a model sees, and what is probably wrong with them."""
    from assay.inference.context_length import find_context_fault

    asked, tokenizer, warnings = problem.conversation, model.tokenizer, []
    ids, text = tokenizer.encode(asked), asked.text
    try:
        text = tokenizer.write(asked)
        tokenizer.encode_strictly(asked)
    except ValueError as error:
        warnings.append(f"nobody can put this problem to the model, it becomes the id 0: {error}")
    if tokenizer.adds_bos and ids[:1] != [tokenizer.bos]:
        warnings.append(
            "the prompt does not begin with the bos_token, which the tokenizer puts before every "
            "text: the setting bos=1 does so"
        )
    if asked.bos and tokenizer.bos is None:
        warnings.append("bos=1 has no effect: the tokenizer has no bos_token")
    fault = find_context_fault(model.config, len(ids), max_tokens)
    if fault is not None:
        warnings.append(fault)
    written = {end for end in model.end_tokens if end < len(tokenizer.drawable)}
    warnings.extend(
        f"the end token {end} is none that the model can write"
        for end in model.end_tokens
        if end not in written or not tokenizer.drawable[end]
    )
    return {"text": text, "ids": ids, "warnings": warnings}
