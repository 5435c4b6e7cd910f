"""Recipes: one file from model to subnet, read strictly.

A fault of a file is reported in one line, with the full path of the key and what was probably
meant. Light: nothing here needs torch. Of chain and model it knows only sizes.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from assay.environments.listing import PLACEHOLDER, complete_name
from assay.environments.problem_file import (
    ProblemFileError,
    add_problem_files,
    compute_file_digest,
    get_known_files,
)
from assay.environments.registry import (
    count_named_units,
    list_named_levels,
    list_named_rated,
    parse_choice,
)
from assay.environments.rewards import choose_rewards
from assay.inference.context_length import find_context_fault
from assay.inference.plain_config import find_learning_conflict
from assay.network.toml_settings import list_mistakes, name_place, read_toml, suggest
from assay.protocol.beacon import QUICKNET
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.parameters import Parameters, Work, find_scoring_fault
from assay.session.memory import PROMPT
from assay.settings.loading import ConfigError, open_named_environment
from assay.settings.sections import TrainerSettings
from assay.subnet.model_numbers import ModelNumbers, PlainNumbers, RecipePart
from assay.subnet.presets import (
    PRESETS,
    change_parameters,
    make_identity,
    make_parameters,
    read_changes,
)
from assay.subnet.prompt_tables import read_prompts
from assay.subnet.recipes import RECIPES

#: Any other environment shows faults of the rest where the file of problems is not here.
_STAND_IN = "arithmetic"
_ASKED = re.compile(rf"([a-z_]+):{PLACEHOLDER}\b")
#: A file's SHA-256 in an environment's name.
_NAMED = re.compile(r":([0-9a-f]{64})\b")
#: The parameters that a recipe may change: section → fields; none: all of them. The rest is the
#: network's own, or has its own field in the recipe.
_CHANGED: Mapping[str, tuple[str, ...]] = {
    "environment": ("prompts",),
    "identity": ("burn_share",),
    "gate": (),
    "rewards": (),
    "steering": (),
    "timing": (),
    "work": (),
    "tests": (),
}

#: Longest config.json that is read, bytes.
_CONFIG_BYTES_MAX = 1 << 20

Implementation = Literal["fp32-sdpa", "fp32-eager", "split3"]


class CalibrationPart(RecipePart):
    """`[calibration]`: the calibration of checkpoint 0, and the owner's comparisons before it."""

    #: problems whose sampled completions make the set
    problems: Annotated[int, Field(ge=2, le=4_096)] = 256
    #: implementations that `assay calibrate` is to compare before the network is published
    pairs: tuple[tuple[Implementation, Implementation], ...] = (("fp32-sdpa", "fp32-eager"),)


class Lengths(NamedTuple):
    """Tokens of a prompt, of a completion, and of the replies between its turns, on average."""

    prompt: float
    completion: float
    replies: float = 0

    @property
    def behind(self) -> float:
        """Tokens behind the prompt."""
        return self.completion + self.replies

    def count_group(self, rollouts: int, *, packs: bool = True) -> float:
        """The tokens that are read of a group: its prompt once, or again for each rollout."""
        return (1 if packs else rollouts) * self.prompt + rollouts * self.behind

    @property
    def context(self) -> float:
        """Tokens before a token behind the prompt."""
        return self.prompt + self.behind / 2


class ExpectedCourse(RecipePart):
    """`[course]`: the expected run. These are inputs of arithmetic, none of them measured."""

    card: str  # the GPU of all participants: see `assay.subnet.window_costs`
    implementation: Implementation  # of the reference that all run; `assay train --recipe` takes it
    trainer_cards: Annotated[int, Field(ge=1, le=1_024)]
    miners: Annotated[int, Field(ge=1, le=256)]
    groups_per_step: Annotated[int, Field(ge=1, le=1_024)]  # of a miner: as its GPU has room for
    prompt_tokens: Annotated[int, Field(ge=1, le=1 << 20)]  # of a prompt, on average
    #: of the longest prompt, for memory; None: `PROMPT` of `neurons.preflight.memory`
    longest_prompt: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    completion_tokens: Annotated[int, Field(ge=1, le=1 << 20)]  # of a completion, on average
    #: of the replies between a completion's turns, all together, on average
    reply_tokens: Annotated[int, Field(ge=0, le=1 << 20)] = 0
    steps: Annotated[int, Field(ge=1, le=1_000_000)]  # checkpoints that the trainer publishes

    @property
    def prompt(self) -> int:
        """Tokens of the longest prompt."""
        return self.longest_prompt or max(PROMPT, self.prompt_tokens)

    @property
    def lengths(self) -> Lengths:
        return Lengths(self.prompt_tokens, self.completion_tokens, self.reply_tokens)


class Recipe(RecipePart):
    """A recipe's file. `parameters` are changes to the preset, see `change_parameters`."""

    about: str = Field(min_length=1, max_length=200)
    preset: Literal["main", "demo"]
    environment: str = Field(min_length=1, max_length=1_000)  # in the form of --environment
    file: str | None = None  # the file of problems, in words, if the environment needs one
    #: the files whose SHA-256 the environment has: paths, from the recipe's folder
    files: tuple[Annotated[str, Field(min_length=1, max_length=4_096)], ...] = ()
    levels: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1, max_length=256)
    model: ModelNumbers
    parameters: dict[str, dict[str, Any]] = Field(default_factory=dict)
    calibration: CalibrationPart = CalibrationPart()
    trainer: TrainerSettings = TrainerSettings()
    course: ExpectedCourse

    def make_rules(
        self,
        environment: str | None = None,
        preset: str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Parameters:
        """The network's parameters, with blank identity.

        Args:
            environment: replaces the recipe's. Where a placeholder is left, another environment
                stands in for it.
            preset: replaces the recipe's.
            changes: applied after the recipe's own.

        Raises:
            ConfigError: no network could be run by them, or the environment cannot be opened.
        """
        base, named = PRESETS[preset or self.preset], environment or self.outline
        absent = PLACEHOLDER in named
        rules = make_parameters(
            base.timing,
            base,
            make_identity(bytes(32), 0, 0, bytes(32), bytes(32)),
            QUICKNET,
            _STAND_IN if absent else named,
        )
        rules = replace(rules, rewards=choose_rewards(list_named_rated(named)))
        own = dict(self.parameters)
        if absent and "environment" in own:  # whose parts the stand-in does not have
            read_prompts(own.pop("environment").get("prompts", {}), *parse_choice(named))
        if absent and "gate" in own:
            own["gate"] = {k: value for k, value in own["gate"].items() if k != "environment"}
        return change_parameters(change_parameters(rules, own), changes or {})

    @property
    def outline(self) -> str:
        """The environment's name, with a placeholder for each file that is not here."""
        asked = set(_NAMED.findall(self.environment))
        known = _list_known_digests() if asked else asked
        return _NAMED.sub(
            lambda match: match[0] if match[1] in known else f":{PLACEHOLDER}", self.environment
        )

    def require_levels(self, environment: str) -> None:
        """Raise ConfigError if the environment lacks a level that the recipe begins with."""
        fault = self._find_odd_levels(environment, open_named_environment(environment).levels)
        if fault is not None:
            raise ConfigError(fault)

    def find_environment_fault(self) -> str | None:
        """Why the recipe's environment or its levels cannot be, whatever its file of problems
        holds; None: they can."""
        try:
            legal = list_named_levels(self.outline, PLACEHOLDER)
        except ValueError as error:
            return f"environment: {error}"
        return self._find_odd_levels(self.environment, legal)

    def _find_odd_levels(self, environment: str, legal: Sequence[int]) -> str | None:
        if set(self.levels) <= set(legal):
            return None
        listed = ", ".join(map(str, legal[:24])) + (", …" if len(legal) > 24 else "")
        return f"levels: {environment} does not have all of {list(self.levels)}; it has {listed}"

    def fill_environment(self, named: str | None = None) -> str:
        """The environment's whole name, with the digests of the files of problems that this process
        has. `named`: by a person, in place of the recipe's; see `complete_name`.

        Raises:
            ConfigError: there is no such file, or more than one.
        """
        if named is None and self.files and PLACEHOLDER in self.outline:
            raise ConfigError(
                f"the problems are in {', '.join(self.files)}, from the recipe's folder, and not "
                "all of that is there: put it there, or name it with --file"
            )
        try:
            return complete_name(named or self.environment)
        except ValueError as error:
            where = "" if named else f"the problems are in {self.file or 'a file'}; "
            raise ConfigError(f"{where}{error}") from None


class PlainRecipe(Recipe):
    """A recipe whose model no family describes: `[model]` has `weights`."""

    model: PlainNumbers


def _has_weights(document: Mapping[str, Any]) -> bool:
    model = document.get("model")
    return isinstance(model, Mapping) and "weights" in model


def read_recipe(named: str) -> Recipe:
    """Read a recipe by its file's path, or by the name of a shipped one.

    Raises:
        ConfigError: there is none, or it cannot be used: says which key, and what was meant.
    """
    file = find_recipe(named)
    document = read_changes(file)
    try:
        form = PlainRecipe if _has_weights(document) else Recipe
        recipe = form.model_validate_json(json.dumps(document, allow_nan=False), strict=True)
    except ValidationError as error:
        text = "" if file.suffix == ".json" else read_toml(file)[1]
        lines = [
            f"{name_place(file, text, mistake.path)} {mistake.what}"
            for mistake in list_mistakes(error, form, text)
        ]
        raise ConfigError("\n".join(lines)) from None
    except (ValueError, TypeError):
        path, value = next(_find_other_values(document))
        raise ConfigError(
            f"{file}: {path}: {value} is neither text, boolean, number nor list"
        ) from None
    faults = _add_files(recipe, file.parent) or find_recipe_faults(recipe)
    if faults:
        raise ConfigError("\n".join(f"{file}: {fault}" for fault in faults))
    return recipe


def list_recipe_files(file: Path) -> tuple[Path, ...]:
    """The paths of a recipe's files, as far as it names some. What else is wrong with it, reading
    it says."""
    named = read_changes(file).get("files", ())
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        return ()
    return tuple(path for path in (file.parent / name for name in named) if path.is_file())


def _add_files(recipe: Recipe, folder: Path) -> list[str]:
    """Add a recipe's files to those in which this process looks for problems, as far as they are
    here. Returns why one cannot be: nobody reads a file that the environment does not name."""
    asked, faults = set(_NAMED.findall(recipe.environment)), list[str]()
    if not asked and recipe.files:
        return [f"files: {recipe.environment!r} names no file by its SHA-256"]
    for named in recipe.files:
        path = folder / named
        if not path.exists():
            continue
        try:
            digest = compute_file_digest(path)
        except ProblemFileError as error:
            faults.append(f"files: {error}")
            continue
        if digest in asked:
            add_problem_files([path])
        else:
            faults.append(
                f"files: {named} has SHA-256 {digest}, which the environment does not name: it has "
                "changed since; make the recipe anew with `assay recipe new`"
            )
    return faults


def _list_known_digests() -> set[str]:
    """Of the files in which this process looks for problems."""
    known = set[str]()
    for file in get_known_files():
        with suppress(ProblemFileError):
            known.add(compute_file_digest(file))
    return known


def find_recipe_faults(recipe: Recipe) -> list[str]:
    """Everything that is wrong between a recipe's fields, each fault in a line."""
    unknown = _find_unknown_change(recipe.parameters)
    odd = _find_odd_file(recipe) or recipe.find_environment_fault()
    faults = [] if unknown is None else [unknown]
    faults += _list_misfits(recipe)
    if odd is not None:
        faults.append(odd)
    work = _read_work(recipe)
    if unknown is None and odd is None:
        try:
            rules = recipe.make_rules()
        except ConfigError as error:
            faults.append(str(error))
        else:
            units, work = count_named_units(recipe.environment), rules.work
            load = find_scoring_fault(units.total(), rules.timing, rules.work, units)
            faults += [] if load is None else [load]
    if work is not None:
        faults += _list_length_faults(recipe, work)
    return faults


def _read_work(recipe: Recipe) -> Work | None:
    """[work] of the parameters, though the rest may not fit; None: it has no such numbers."""
    changes, numbers = recipe.parameters.get("work", {}), PRESETS[recipe.preset].work
    if not all(type(value) is int and hasattr(numbers, name) for name, value in changes.items()):
        return None
    return replace(numbers, **changes)


def _list_length_faults(recipe: Recipe, work: Work) -> Iterator[str]:
    if work.group_size == 1:
        yield "parameters.work.group_size is 1: a rollout is compared with others of its group"
    most, mean = work.max_tokens, recipe.course.completion_tokens
    if mean > most:
        yield f"course.completion_tokens: {mean} exceed the {most} of parameters.work.max_tokens"
    if recipe.model.find_fault() is None:
        given = recipe.model.whole, recipe.course.prompt, most, work.context
        if (fault := find_context_fault(*given)) is not None:
            yield fault
    if (fault := find_replies_fault(recipe.course.lengths, work)) is not None:
        yield fault


def find_replies_fault(lengths: Lengths, work: Work) -> str | None:
    """Why a course cannot have such replies under a network's rules, or None."""
    if work.turns == 1:
        lacking = "episodes have one turn: set turns under [parameters.work]"
        return f"course.reply_tokens: {lacking}" if lengths.replies else None
    if not lengths.replies:
        return (
            f"course.reply_tokens is missing: parameters.work.turns is {work.turns}, so say how "
            "many tokens the replies of an episode have together, on average"
        )
    # own tokens do not count: what an episode has written, it need not leave room for
    needed = round(lengths.prompt + lengths.replies) + work.max_tokens
    if needed <= work.context:
        return None
    return (
        f"course.reply_tokens: a prompt of {lengths.prompt:,}, replies of {lengths.replies:,} and "
        f"room for max_tokens = {work.max_tokens:,} need {needed:,} tokens, more than "
        f"parameters.work.context = {work.context:,}: most episodes would end before their "
        f"worlds do; set context = {needed} or more"
    )


def find_recipe(named: str) -> Path:
    """A recipe's file. Raises ConfigError: there is none of that name."""
    shipped = list_recipes()
    if named in shipped:
        return RECIPES / f"{named}.toml"
    file = Path(named)
    if file.is_file():
        return file
    near = get_close_matches(named.removesuffix(".toml"), shipped, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"shipped are {', '.join(shipped)}"
    raise ConfigError(f"there is no recipe {named!r}, neither shipped nor a file: {hint}")


def list_recipes() -> list[str]:
    """Names of the shipped recipes, in order."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def require_architecture(recipe: Recipe, folder: Path) -> None:
    """Raise ConfigError if a folder's config.json does not have the recipe's sizes."""
    file = folder / "config.json"
    if file.exists() and not file.is_file():  # a pipe would be waited for, a device has no end
        raise ConfigError(f"{file} is not a regular file: name a folder of files")
    try:
        with file.open("rb") as opened:
            config = read_json(opened.read(_CONFIG_BYTES_MAX))
    except OSError as error:
        raise ConfigError(
            f"cannot read {file} ({error.strerror}): name a folder with {recipe.model.name}"
        ) from None
    except EncodingError as error:
        raise ConfigError(f"{file} {error}") from None
    require_sizes(recipe, file, config if isinstance(config, dict) else {})


def require_sizes(recipe: Recipe, file: Path, config: Mapping[str, Any]) -> None:
    """Raise ConfigError, which names `file`, if a config does not have the recipe's sizes. The
    context may be another: that of the folder is compared with the problems' prompts."""
    model = recipe.model
    alike = model.config.keys() & config.keys() - {"max_position_embeddings"}
    stated = {name: model.config[name] for name in sorted(alike)}
    apart = {"head_dim", *model.config}
    wanted = {name: size for name, size in model.whole.items() if name not in apart} | stated
    for name, value in wanted.items():
        actual = config.get(name, False if name == "tie_word_embeddings" else None)
        if actual != value:
            raise ConfigError(_say_other(file, name, actual, value, recipe))
    actual = config.get("head_dim") or model.hidden_size // model.num_attention_heads
    if model.packs and actual != model.head:
        raise ConfigError(_say_other(file, "head_dim", actual, model.head, recipe))


def _say_other(file: Path, name: str, actual: object, value: object, recipe: Recipe) -> str:
    return (
        f"{file} has another architecture than the recipe: {name} is {actual} and not {value}: "
        f"name a folder with {recipe.model.name}, or another recipe"
    )


def _find_other_values(node: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """Values that no recipe may have: dates, times, NaN and infinities; each with its key's
    path."""
    if isinstance(node, Mapping | list):
        pairs = node.items() if isinstance(node, Mapping) else enumerate(node)
        for name, value in pairs:
            yield from _find_other_values(value, f"{path}.{name}" if path else str(name))
    elif isinstance(node, float):
        if not isfinite(node):
            yield path, node
    elif not isinstance(node, str | int):
        yield path, node


def _say_unknown(path: str, name: str, known: Iterable[str]) -> str:
    return f"{path} is not a setting: {suggest(name, known)}"


def _find_unknown_change(changes: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The first change of a field that parameters lack, or that a recipe may not change."""
    sections = {f.name: f.type for f in fields(Parameters)}
    for section, values in changes.items():
        if section not in _CHANGED:
            return _say_unknown(f"parameters.{section}", section, _CHANGED)
        kind: Any = sections[section]
        known = _CHANGED[section] or tuple(f.name for f in fields(kind))
        for name in values:
            if name not in known:
                return _say_unknown(f"parameters.{section}.{name}", name, known)
    return None


def _find_odd_file(recipe: Recipe) -> str | None:
    if bool(_ASKED.search(recipe.environment)) == (recipe.file is not None):
        return None
    return (
        f"file: describe the file if the environment has {PLACEHOLDER}, and only then: it is "
        f"{recipe.environment!r}"
    )


def _list_misfits(recipe: Recipe) -> Iterator[str]:
    """The conflicts between a recipe's fields that need no parameters."""
    if "dir" in recipe.trainer.model_fields_set:
        yield "trainer.dir is a folder of one machine: name it with --dir"
    if recipe.trainer.tracker != "off":
        yield "trainer.tracker sends figures to others: a recipe may not choose that"
    if recipe.trainer.local_addr is not None or recipe.trainer.open_to_network:
        yield "trainer.local_addr and trainer.open_to_network: a recipe may open no machine"
    conflict = recipe.trainer.find_conflict()
    if conflict is not None:
        yield f"trainer.{conflict}"
    if list(recipe.levels) != sorted(set(recipe.levels)):
        yield f"levels: {list(recipe.levels)} are not in order, each once"
    conflict = find_learning_conflict(
        is_shared=recipe.trainer.is_shared, has_factors=bool(recipe.trainer.lora_rank)
    )
    if conflict is not None and not recipe.model.packs:
        yield f"trainer: {conflict}"
    course, processes = recipe.course, recipe.trainer.processes
    if course.card != "cpu" and processes != course.trainer_cards:
        yield (
            f"trainer.processes: {processes} differ from the {course.trainer_cards} of "
            "course.trainer_cards: `assay train` starts one process on each GPU"
        )
    if course.longest_prompt is not None and course.longest_prompt < course.prompt_tokens:
        yield (
            f"course.longest_prompt: {course.longest_prompt} is below course.prompt_tokens, the "
            f"{course.prompt_tokens} of a prompt on average"
        )
    fault = recipe.model.find_fault()
    if fault is not None:
        yield f"model.{fault}"
