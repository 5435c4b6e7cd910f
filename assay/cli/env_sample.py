"""`assay env sample`: problems as a miner gets them, and as a model sees them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from assay.cli.console import make_printable
from assay.cli.env_view import make_problem
from assay.environments.base import Environment, Manner, Problem
from assay.environments.registry import list_parts, make_environment
from assay.settings.loading import ConfigError, open_named_environment

if TYPE_CHECKING:
    from assay.gate.tokenizer import FolderTokenizer
    from assay.inference.tokenizing.seen_prompts import SeenPrompt
    from assay.protocol.parameters import Work


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """The options of the command."""

    name: str
    seed: str
    count: int
    levels: list[int] | None
    hotkey: str | None
    model: Path | None
    prompts: Path | None
    recipe: str | None
    max_tokens: int | None


def run_env_sample(request: SampleRequest, as_json: bool) -> None:
    """Print problems 0 to count − 1 of a seed."""
    environment, max_tokens, _ = open_request(request)
    problems = [
        make_problem(environment, request.seed, request.hotkey, request.levels, index)
        for index in range(request.count)
    ]  # all, before the first line is printed
    samples: list[dict[str, Any]] = [
        {
            "index": index,
            "prompt": problem.prompt,
            "level": problem.level,
            "messages": [
                {"role": one.role, "content": one.content} for one in problem.conversation.messages
            ],
        }
        for index, problem in enumerate(problems)
    ]
    if request.model is not None:
        from assay.evaluation.model import open_folder
        from assay.inference.tokenizing.seen_prompts import see_prompts

        model = open_folder(request.model, has_weights=False)
        seen = see_prompts(
            model.tokenizer, model.config, model.end_tokens, problems, max_tokens or 1
        )
        samples = [sample | _describe(one) for sample, one in zip(samples, seen, strict=True)]
        if environment.turns > 1 and model.has_template:
            frames = _list_frames(environment, problems, model.tokenizer)
            samples = [one | {"frames": lines} for one, lines in zip(samples, frames, strict=True)]
    if as_json:
        print(json.dumps(samples))
        return
    console = Console(highlight=False)
    for sample in samples:
        _show(console, sample)
    for line in dict.fromkeys(line for one in samples for line in one.get("frames", ())):
        console.print(Text(make_printable(line)), soft_wrap=True)


def _describe(seen: "SeenPrompt") -> dict[str, Any]:
    return {"text": seen.text, "ids": seen.ids, "warnings": list(seen.warnings.values())}


def _list_frames(
    environment: Environment, problems: Sequence[Problem], tokenizer: "FolderTokenizer"
) -> list[list[str]]:
    """What each problem's part has as the frame of its replies, in lines: none if its problems are
    plain text."""
    from assay.inference.tokenizing.reply_frames import find_frames
    from assay.subnet.reply_frames import describe_frames

    parts = list_parts(environment.name, environment.params)
    known: dict[Manner, list[str]] = {}
    for manner in (problem.manner for problem in problems):
        if manner not in known:
            found = [] if manner.plain else find_frames(tokenizer, manner)
            named = parts[0] if len(parts) == 1 else "a part without words"
            part = named if manner.prompts is None else manner.prompts.part
            known[manner] = describe_frames(part, manner, found)[1] if found else []
    return [known[problem.manner] for problem in problems]


def _show(console: Console, sample: Mapping[str, Any]) -> None:
    console.print(Text(f"{sample['index']}  level {sample['level']}", style="bold"))
    if "text" in sample:
        console.print(Text(make_printable(sample["text"])), soft_wrap=True)
        ids = f"{len(sample['ids'])} ids: {' '.join(map(str, sample['ids']))}"
        console.print(ids, soft_wrap=True)
    elif len(sample["messages"]) == 1:
        console.print(Text(make_printable(sample["prompt"])), soft_wrap=True)
    else:
        for message in sample["messages"]:
            console.print(Text(f"{message['role']}:", style="italic"))
            console.print(Text(make_printable(message["content"])), soft_wrap=True)
    for warning in sample.get("warnings", ()):
        line = Text(f"warning: {make_printable(warning)}", style="yellow")
        console.print(line, soft_wrap=True)


def open_request(request: SampleRequest) -> tuple[Environment, int | None, "Work | None"]:
    """The environment with the owner's words, the tokens of an answer if somebody says how many,
    and a recipe's [work]."""
    environment, max_tokens = open_named_environment(request.name), request.max_tokens
    work = None
    if request.recipe is not None:
        from assay.subnet.recipe import read_recipe

        recipe = read_recipe(request.recipe)
        work = recipe.make_rules().work
        max_tokens = max_tokens or work.max_tokens
        tables = recipe.parameters.get("environment", {}).get("prompts")
        if tables is not None and request.prompts is None:
            environment = _put_otherwise(environment, lambda: tables, request.recipe)
    if request.prompts is not None:
        from assay.subnet.presets import read_changes
        from assay.subnet.prompt_tables import find_tables

        changes = read_changes(request.prompts)
        environment = _put_otherwise(environment, lambda: find_tables(changes), request.prompts)
    return environment, max_tokens, work


def _put_otherwise(
    environment: Environment, find: Callable[[], Any], source: str | Path
) -> Environment:
    """The environment with the words of tables. Raises ConfigError, which names their source."""
    from assay.subnet.prompt_tables import read_prompts

    name, settings = environment.name, environment.params
    try:
        return make_environment(name, settings, read_prompts(find(), name, settings))
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"{source}: {error}") from None
