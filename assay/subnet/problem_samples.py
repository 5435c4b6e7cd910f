"""Problems of a seed as a miner gets them, and as a model sees them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.environments.base import Environment, Manner, Problem
from assay.environments.dealing import make_miner_problem
from assay.environments.registry import list_parts, make_environment
from assay.protocol.hashing import DIGEST_BYTES
from assay.protocol.manifest import start_levels
from assay.settings.loading import ConfigError, open_named_environment, parse_hotkey

if TYPE_CHECKING:
    from assay.gate.tokenizer import FolderTokenizer
    from assay.inference.tokenizing.seen_prompts import SeenPrompt
    from assay.protocol.parameters import Work


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Problems 0 to count − 1 of a seed, in an environment by its name.

    Attributes:
        seed: 32 bytes in hex.
        levels: in force; None: all. hotkey: the miner's, SS58; None: nobody's.
        model: the folder of one that sees them; None: none does.
        prompts: file of an owner's words. recipe: in place of these.
        max_tokens: of an answer, for which the model's context has to leave room.
    """

    name: str
    seed: str
    count: int = 1
    levels: Sequence[int] | None = None
    hotkey: str | None = None
    model: Path | None = None
    prompts: Path | None = None
    recipe: str | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class SampledProblem:
    """A problem. `seen`: by the model, if there is one. `frames`: of replies by its template, in
    lines; None: there are no replies, or no template."""

    problem: Problem
    seen: "SeenPrompt | None" = None
    frames: Sequence[str] | None = None


def sample_problems(request: SampleRequest) -> list[SampledProblem]:
    """The problems. Raises ConfigError: the request cannot be met."""
    environment, max_tokens, _ = open_request(request)
    problems = [make_problem(environment, request, index) for index in range(request.count)]
    if request.model is None:
        return [SampledProblem(problem) for problem in problems]
    from assay.evaluation.model import open_folder
    from assay.inference.tokenizing.seen_prompts import see_prompts

    model = open_folder(request.model, has_weights=False)
    seen = see_prompts(model.tokenizer, model.config, model.end_tokens, problems, max_tokens or 1)
    samples = [SampledProblem(*pair) for pair in zip(problems, seen, strict=True)]
    if environment.turns > 1 and model.has_template:
        frames = _list_frames(environment, problems, model.tokenizer)
        samples = [replace(one, frames=each) for one, each in zip(samples, frames, strict=True)]
    return samples


def make_problem(environment: Environment, request: SampleRequest, index: int) -> Problem:
    """A problem of the request's seed. Raises ConfigError."""
    seed = request.seed
    try:
        challenge = bytes.fromhex(seed)
    except ValueError:
        raise ConfigError(f"--seed {seed[:80]!r} is not hex") from None
    if len(challenge) != DIGEST_BYTES:
        raise ConfigError(
            f"--seed has {2 * len(challenge)} hex digits: write {2 * DIGEST_BYTES} of them"
        )
    owner = (
        bytes(DIGEST_BYTES) if request.hotkey is None else parse_hotkey(request.hotkey, "--hotkey")
    )
    try:
        legal = environment.levels if request.levels is None else sorted(set(request.levels))
        return make_miner_problem(environment, challenge, owner, index, start_levels(legal))
    except ValueError as error:
        raise ConfigError(str(error)) from None


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
