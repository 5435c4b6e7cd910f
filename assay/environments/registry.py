"""All environments by name. A new one adds a row here and nothing elsewhere."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from assay.environments import (
    answer_form,
    arithmetic,
    gsm,
    gym,
    letters_file,
    math_file,
    mixture,
    sat,
)
from assay.environments.answer_form import AnswerForm
from assay.environments.base import PART_LEVELS, Environment, Manner, Param, resolve_params
from assay.environments.foreign import package_environment
from assay.environments.foreign.archive import read_first_name
from assay.environments.gym.datasets import LEVELS, REFUSED
from assay.environments.instructions import InstructionFile, instruction_file
from assay.environments.pieces import abduce, deduce, induce, piece_environment, pool, propose
from assay.environments.pieces.growth import read_pool
from assay.environments.pooling import with_pool
from assay.environments.problem_family import guess_family
from assay.environments.problem_file import (
    OtherFormatError,
    ProblemFileError,
    compute_file_digest,
    describe_skipped,
    get_known_files,
)
from assay.environments.programs import CodeFile, code_file
from assay.environments.prompting import PARAMS, PromptedEnvironment, divide_settings, make_manner
from assay.environments.search import SearchFile, search_file, search_rows
from assay.environments.tasksets import MANIFEST, TasksetEnvironment
from assay.environments.tools import (
    CALL_FORM,
    TOOL,
    TOOLS,
    CallForm,
    add_tool,
    find_tool,
    state_tool,
)
from assay.environments.tools import PARAMS as TOOL_PARAMS
from assay.environments.tools.python import Python
from assay.environments.worlds import codes, errands, guess, rooms
from assay.protocol.manifest import POOL_FILE, Manifest
from assay.protocol.parameters import TOOL_UNITS, UNITS, EnvironmentChoice, Prompts

#: Name → constructor from parameters, which raises ValueError for illegal ones.
ENVIRONMENTS: Mapping[str, Callable[[Mapping[str, int]], Environment]] = MappingProxyType(
    {
        abduce.NAME: abduce.Abduce,
        arithmetic.NAME: arithmetic.Arithmetic,
        codes.NAME: codes.Codes,
        deduce.NAME: deduce.Deduce,
        errands.NAME: errands.Errands,
        gsm.NAME: gsm.Gsm,
        guess.NAME: guess.Guess,
        induce.NAME: induce.Induce,
        propose.NAME: propose.Propose,
        rooms.NAME: rooms.Rooms,
        sat.NAME: sat.Sat,
    }
)


def _declare_form(form: AnswerForm) -> dict[str, Param]:
    return {answer_form.NAME: answer_form.make_param(form)}


#: The same for people who choose one: name → its settings and a description.
_DESCRIBED = {
    abduce.NAME: (
        {**piece_environment.PARAMS, **_declare_form(abduce.FORM)},
        "find an input for which a small function returns an output",
    ),
    arithmetic.NAME: (arithmetic.PARAMS, "sums of several terms, worked step by step"),
    codes.NAME: (codes.PARAMS, "find a code by replies, turn by turn (Mastermind)"),
    deduce.NAME: (
        {**piece_environment.PARAMS, **_declare_form(deduce.FORM)},
        "predict what a small function returns",
    ),
    errands.NAME: (errands.PARAMS, "a robot fetches parcels on a map, by commands"),
    gsm.NAME: (
        {**gsm.PARAMS, **_declare_form(gsm.FORM)},
        "word problems from templates, in GSM8K's format",
    ),
    guess.NAME: (guess.PARAMS, "find a number by replies, turn by turn: higher or lower"),
    induce.NAME: (piece_environment.PARAMS, "write a small function from inputs and outputs"),
    propose.NAME: (propose.PARAMS, "write functions and inputs for the other parts of a mixture"),
    rooms.NAME: (rooms.PARAMS, "do a robot's errands in rooms that it explores, turn by turn"),
    sat.NAME: (sat.PARAMS, "random k-SAT; a level is a number of variables"),
}
#: For names of the form `name:what`: name → constructor from `what` and parameters.
FAMILIES: Mapping[str, Callable[[str, Mapping[str, int]], Environment]] = MappingProxyType(
    {
        abduce.NAME: abduce.AbduceFile,
        code_file.NAME: CodeFile,
        deduce.NAME: deduce.DeduceFile,
        gsm.NAME: gsm.GsmFile,
        gym.NAME: gym.ReasoningGym,
        induce.NAME: induce.InduceFile,
        instruction_file.NAME: InstructionFile,
        letters_file.NAME: letters_file.LettersFile,
        math_file.NAME: math_file.MathFile,
        package_environment.NAME: package_environment.PackageEnvironment,
        search_rows.NAME: SearchFile,
        TasksetEnvironment.family: TasksetEnvironment,
    }
)
#: Settings of a family's environments, where they have any.
_SETTINGS: Mapping[str, Mapping[str, Param]] = {
    abduce.NAME: {**piece_environment.PARAMS, **_declare_form(abduce.FORM)},
    code_file.NAME: code_file.PARAMS,
    deduce.NAME: {**piece_environment.PARAMS, **_declare_form(deduce.FORM)},
    gsm.NAME: _declare_form(gsm.FORM),
    gym.NAME: _declare_form(gym.FORM),
    induce.NAME: piece_environment.PARAMS,
    letters_file.NAME: {**letters_file.PARAMS, **_declare_form(letters_file.FORM)},
    math_file.NAME: _declare_form(math_file.FORM),
    package_environment.NAME: {
        **package_environment.PARAMS,
        **_declare_form(package_environment.FORM),
    },
    propose.NAME: propose.PARAMS,
    search_rows.NAME: {**search_file.PARAMS, **_declare_form(search_file.FORM)},
    TasksetEnvironment.family: package_environment.PARAMS,
}
#: Families that read files of problems, in the order in which they are tried after the guessed one.
_READERS = (
    *(gsm.NAME, math_file.NAME, code_file.NAME, letters_file.NAME, instruction_file.NAME),
    *(search_rows.NAME, deduce.NAME),
)
#: Levels that a family's files may have, where they are few.
_LEVELS = {
    **dict.fromkeys((abduce.NAME, deduce.NAME, induce.NAME), range(1, pool.LEVELS + 1)),
    code_file.NAME: range(1, code_file.LEVELS_MAX + 1),
    gsm.NAME: range(1, gsm.FILE_LEVELS + 1),
    instruction_file.NAME: instruction_file.LEVELS,
    letters_file.NAME: letters_file.LEVELS,
    math_file.NAME: math_file.LEVELS,
    search_rows.NAME: search_rows.LEVELS,
}
_CHOSEN = re.compile(r"([^,=]+)=(-?[0-9]{1,18}|[a-z]+)")


def make_environment(
    name: str, params: Mapping[str, int], prompts: Sequence[Prompts] = ()
) -> Environment:
    """The environment `name` with `params`. A missing parameter takes its default.

    Args:
        prompts: how an owner has the problems of parts put.

    Raises:
        ValueError: the name or a parameter is unknown, a value is out of its range, prompts are of
            no part, or this machine lacks what the environment needs.
    """
    by_part = {one.part: one for one in prompts}
    make = partial(_make_part, by_part)
    _require_solver(list_parts(name, params))
    environment = mixture.Mixture(params, make) if name == mixture.NAME else make(name, params)
    if by_part:
        raise ValueError(f"prompts are of {min(by_part)!r}, which is no part of {name}")
    return environment


def _require_solver(parts: Sequence[str]) -> None:
    """Raises ValueError if problems are proposed that no part asks."""
    solvers = abduce.NAME, deduce.NAME, induce.NAME
    if propose.NAME in parts and not set(solvers) & set(parts):
        raise ValueError(
            f"{propose.NAME} is a part of mixtures that have {', '.join(solvers)}, or some of them"
        )


def _make_part(prompts: dict[str, Prompts], name: str, params: Mapping[str, int]) -> Environment:
    """One environment that is no mixture. Takes its prompts out of `prompts`."""
    own, manner, tool = divide_settings(state_tool(str(name).partition(":")[0], params))
    bare, words = _make_bare(name, own), prompts.pop(name, None)
    environment = add_tool(bare, tool, bare.tool if isinstance(bare, SearchFile) else None)
    if not manner and words is None:
        return environment
    return PromptedEnvironment(environment, manner, words)


def _make_bare(name: str, params: Mapping[str, int]) -> Environment:
    family, colon, what = str(name).partition(":")
    if colon and family in FAMILIES:
        return FAMILIES[family](what, params)
    if name not in ENVIRONMENTS:
        known = ", ".join(sorted(ENVIRONMENTS))
        families = ", ".join(f"{family}:SHA256" for family in sorted(FAMILIES.keys() - {gym.NAME}))
        raise ValueError(
            f"there is no environment {name!r}; there are: {known}, {families}, mix, "
            f"{gym.NAME}:NAME"
        )
    return ENVIRONMENTS[name](params)


def open_environment_of(choice: EnvironmentChoice, manifest: Manifest, pool: bytes) -> Environment:
    """The environment that a network's parameters name, with the problems of a checkpoint.

    Args:
        pool: the checkpoint's file of this name; no bytes where its manifest names none.

    Raises:
        ValueError: see `open_environment`; or the pool is not the manifest's: our own fault.
    """
    named = {file.name: file.sha256 for file in manifest.files}.get(POOL_FILE)
    if named != (sha256(pool).digest() if pool else None):
        raise ValueError("the pool is not the one that the manifest names")
    return open_environment(choice, pool) if pool else open_environment(choice)


def draws_from_pool(choice: EnvironmentChoice) -> bool:
    """Whether problems depend on a checkpoint's pool."""
    parts = list_parts(choice.name, {setting.name: setting.value for setting in choice.settings})
    return not {abduce.NAME, deduce.NAME, induce.NAME}.isdisjoint(parts)


def get_pool_cap(choice: EnvironmentChoice) -> int | None:
    """Most proposals that a network's pool keeps; None: it has no proposals."""
    settings = {setting.name: setting.value for setting in choice.settings}
    if propose.NAME not in settings:
        return None
    default = propose.PARAMS[propose.POOL_SETTING].default
    return settings.get(f"{propose.NAME}.{propose.POOL_SETTING}", default)


@lru_cache(16)
def open_environment(choice: EnvironmentChoice, pool: bytes = b"") -> Environment:
    """The environment that a network's parameters name, in the version that they name.

    Args:
        pool: of a checkpoint, whose pieces are asked besides those of the first pool.

    Raises:
        ValueError: this program has another version of it, or none; or the pool is damaged.
    """
    if pool:
        return with_pool(open_environment(choice), read_pool(pool))
    settings = {s.name: s.value for s in choice.settings}
    environment = make_environment(choice.name, settings, choice.prompts)
    if environment.digest != choice.digest:
        raise ValueError(
            f"environment {choice.name!r} here is another version than the network's parameters "
            "name: install the version of assay, and of its extras, that this network runs"
        )
    stated, counted = {setting.name for setting in choice.settings}, (UNITS, TOOL_UNITS)
    hidden = [n for n in environment.params if n.rpartition(".")[2] in counted and n not in stated]
    if hidden:  # the parameters' load of scoring would not be checked
        raise ValueError(f"the network's parameters do not state the setting {hidden[0]!r}")
    return environment


def parse_choice(text: str) -> tuple[str, dict[str, int]]:
    """The name and settings of an environment as a person writes them: `sat,k=4`.

    Raises:
        ValueError: the text after a comma is no `setting=integer`, or repeats a setting.
    """
    name, *given = text.split(",")
    settings: dict[str, int] = {}
    for part in given:
        match = _CHOSEN.fullmatch(part.strip())
        if match is None or match[1].strip() in settings:
            raise ValueError(
                f"{part.strip()!r} in {text!r}: write each setting once, as in sat,k=4 or "
                "mix,arithmetic=3,sat=1"
            )
        setting = match[1].strip()
        settings[setting] = _read_value(setting, match[2], text)
    return name.strip(), settings


#: Settings whose values have names.
_VALUE_NAMES: Mapping[str, Mapping[str, int]] = {
    answer_form.NAME: {form.name.lower(): int(form) for form in AnswerForm},
    TOOL: {"none": 0, **{name: number for number, name in enumerate(TOOLS, 1)}},
    CALL_FORM: {form.word: int(form) for form in CallForm},
}


def _read_value(setting: str, value: str, text: str) -> int:
    """A setting's value: an integer, or a name of one."""
    if not value.isalpha():
        return int(value)
    names = _VALUE_NAMES.get(setting.rpartition(".")[2], {})
    if value not in names:
        known = "; ".join(f"of {name} also {', '.join(of)}" for name, of in _VALUE_NAMES.items())
        raise ValueError(f"{setting}={value} in {text!r}: a value is an integer, and {known}")
    return names[value]


def write_choice(choice: EnvironmentChoice) -> str:
    """A network's environment as `parse_choice` reads it: values that have a name by it, and no
    settings at their defaults. Opens no file."""
    written = [choice.name]
    for setting in choice.settings:
        part, _, own = setting.name.rpartition(".")
        if not part and choice.name == mixture.NAME:  # a weight
            written.append(f"{setting.name}={setting.value}")
            continue
        param = _list_defaults(part or choice.name).get(own)
        if param is None or setting.value != param.default:
            names = {number: name for name, number in _VALUE_NAMES.get(own, {}).items()}
            written.append(f"{setting.name}={names.get(setting.value, setting.value)}")
    return ",".join(written)


def _list_defaults(name: str) -> dict[str, Param]:
    """The settings of an environment that is no mixture, as far as no file says them."""
    own = _DESCRIBED[name][0] if name in _DESCRIBED else _list_settings(name)
    return {**own, **PARAMS, **TOOL_PARAMS}


def list_named_levels(text: str, placeholder: str) -> list[int]:
    """The legal levels of an environment whose files need not be on this machine, named as for
    `parse_choice`. For a file, these are all levels that such a file may have. Opens no file.

    Args:
        placeholder: text in the place of a file's SHA-256.

    Raises:
        ValueError: the name, family or dataset is unknown, the mixture is impossible, or a setting
            does not exist or is out of its range.
    """
    name, params = parse_choice(text)
    _require_solver(list_parts(name, params))
    if name != mixture.NAME:
        return _list_part_levels(name, params, placeholder)
    weights, settings = mixture.divide(params)
    return [
        PART_LEVELS * number + level
        for number, part in enumerate(weights, 1)
        for level in _list_part_levels(part, settings[part], placeholder)
    ]


def count_named_units(text: str) -> Counter[str]:
    """Millions of units that the scoring of one completion may take (`protocol.parameters.UNITS`),
    in an environment whose files need not be on this machine, named as for `parse_choice`: those of
    the dearest part, by the settings that say so."""
    name, params = parse_choice(text)
    weights, settings = mixture.divide(params) if name == mixture.NAME else ({name}, {name: params})
    return max((_count_units(part, settings[part]) for part in weights), key=Counter.total)


def _count_units(part: str, settings: Mapping[str, int]) -> Counter[str]:
    declared, found = _list_settings(part), find_tool(part, settings)
    counted = {UNITS: declared[UNITS]} if UNITS in declared else {}
    if found is not None and found[0] == Python.name:
        counted[TOOL_UNITS] = TOOL_PARAMS[TOOL_UNITS]
    return Counter({one: settings.get(one, param.default) for one, param in counted.items()})


def compute_named_shares(text: str, levels: Sequence[int]) -> list[int]:
    """How often each level is asked at the start, as coprime integers, in an environment whose
    files need not be on this machine, named as for `parse_choice`."""
    name, params = parse_choice(text)
    if name != mixture.NAME:
        return [1] * len(levels)
    weights, _ = mixture.divide(params)
    return mixture.share_weights(list(weights.values()), levels)


def list_parts(name: str, params: Mapping[str, int]) -> list[str]:
    """The names of an environment's parts, in order: of one that is no mixture, its own.

    Raises:
        ValueError: the mixture is impossible.
    """
    return list(mixture.divide(params)[0]) if name == mixture.NAME else [name]


def list_manners(choice: EnvironmentChoice) -> dict[str, Manner]:
    """How the problems of each part are put. Opens no file.

    Raises:
        ValueError: the mixture is impossible.
    """
    settings = {setting.name: setting.value for setting in choice.settings}
    is_mixture = choice.name == mixture.NAME
    parts = mixture.divide(settings)[1] if is_mixture else {choice.name: settings}
    prompts = {one.part: one for one in choice.prompts}
    return {
        part: make_manner(part, state_tool(part.partition(":")[0], own), prompts.get(part))
        for part, own in parts.items()
    }


def list_turns(choice: EnvironmentChoice) -> dict[str, int]:
    """The most turns that the worlds of each part want: 1, unless they reply.

    Raises:
        ValueError: as of `open_environment`.
    """
    environment = open_environment(choice)
    parts = environment.parts if isinstance(environment, mixture.Mixture) else (environment,)
    return {part.name: part.turns for part in parts}


def list_named_rated(text: str) -> frozenset[str]:
    """The parts that an environment rates, as `Environment.rated` has them, named as for
    `parse_choice`. Opens no file: what depends on one is left out."""
    name, params = parse_choice(text)
    weights, settings = mixture.divide(params) if name == mixture.NAME else ({name}, {name: params})
    own = [_make_part({}, part, settings[part]) for part in weights if part in ENVIRONMENTS]
    return frozenset().union(*(one.rated for one in own))


def _list_settings(name: str) -> dict[str, Param]:
    """The settings of a family's environment; empty: it has none, or is of no family."""
    family, _, what = name.partition(":")
    own = gym.list_settings(what) if family == gym.NAME else {}
    return {**_SETTINGS.get(family, {}), **own}


def _list_part_levels(name: str, params: Mapping[str, int], placeholder: str) -> list[int]:
    family, _, what = name.partition(":")
    if what != placeholder and family != gym.NAME:
        return list(_make_part({}, name, params).levels)
    if family == gym.NAME:  # its image need not be here
        gym.require_dataset(what)
    resolve_params(name, {**_list_settings(name), **PARAMS, **TOOL_PARAMS}, params)
    if family == gym.NAME:
        return list(LEVELS[what])
    files = sorted(FAMILIES.keys() - {gym.NAME})
    if family not in files:
        known = ", ".join(f"{each}:{placeholder}" for each in files)
        raise ValueError(f"there is no environment {name!r} of a file; there are: {known}")
    return list(_LEVELS.get(family, range(1, PART_LEVELS)))


@dataclass(frozen=True, slots=True)
class EnvironmentEntry:
    """One environment: its legal levels and its settings by name.

    `usable` tells whether this machine can open it. If it cannot, `about` says why. `file` is the
    problem file or package that it is made from, if any. `skipped` is the number of its rows or
    tasks that are not asked; `about` says why.
    """

    name: str
    levels: tuple[int, ...]
    settings: dict[str, Param]
    about: str
    usable: bool = True
    file: str | None = None
    skipped: int = 0


def list_environments() -> list[EnvironmentEntry]:
    """All environments in order of name. Each file of problems that this process knows is one."""
    several = "several of the others by weight, such as mix,arithmetic=3,sat=1"
    entries = [EnvironmentEntry(mixture.NAME, (), {}, several), *_list_files(), *_list_datasets()]
    entries += [_describe_own(name) for name in ENVIRONMENTS]
    return sorted(entries, key=lambda entry: entry.name)


def _describe_own(name: str) -> EnvironmentEntry:
    settings, about = _DESCRIBED[name]
    try:
        levels = tuple(ENVIRONMENTS[name]({}).levels)
    except ValueError as error:  # a world that replies otherwise here
        return EnvironmentEntry(name, (), {}, str(error), usable=False)
    return EnvironmentEntry(name, levels, dict(settings), about)


def _list_files() -> list[EnvironmentEntry]:
    return [replace(_describe_file(file), file=str(file)) for file in get_known_files()]


def _describe_file(file: Path) -> EnvironmentEntry:
    """The environment of a file, as the family whose format it has."""
    if (first := read_first_name(file)) is not None:
        is_bundle = first == MANIFEST
        kind = TasksetEnvironment if is_bundle else package_environment.PackageEnvironment
        return _describe_package(file, kind)
    faults: dict[str, None] = {}
    try:
        families = dict.fromkeys((guess_family(file), *_READERS))
    except ProblemFileError as error:
        return EnvironmentEntry(f"{gsm.NAME}:{file}", (), {}, str(error), usable=False)
    for family in families:
        try:
            environment = FAMILIES[family](compute_file_digest(file), {})
        except ProblemFileError as error:
            if not isinstance(error, OtherFormatError):
                return EnvironmentEntry(f"{family}:{file}", (), {}, str(error), usable=False)
            faults[str(error).removeprefix(f"{file}, ")] = None  # each once
            continue
        about = f"from {file}"
        skipped: Mapping[str, Sequence[int]] = getattr(environment, "skipped", {})
        count = sum(map(len, skipped.values()))
        if count:
            about += f", {count} rows not asked: {describe_skipped(skipped)}"
        settings = dict(_SETTINGS.get(family, {}))
        levels = tuple(environment.levels)
        return EnvironmentEntry(environment.name, levels, settings, about, skipped=count)
    return EnvironmentEntry(f"{gsm.NAME}:{file}", (), {}, f"{file}: {'; '.join(faults)}", False)


def _describe_package(
    file: Path, kind: type[package_environment.PackageEnvironment]
) -> EnvironmentEntry:
    try:
        package = kind(compute_file_digest(file), {})
    except ProblemFileError as error:
        name = f"{kind.family}:{file}"
        return EnvironmentEntry(name, (), {}, str(error), usable=False)
    asked = f", {package.about}" if package.about else ""
    if package.turns > 1 and "turns" not in asked:
        asked += f", in episodes of up to {package.turns} turns"
    about = f"from {file}{asked}; `assay env vet` says whether it is fit for a subnet"
    levels = tuple(package.levels)
    settings = {n: p for n, p in _SETTINGS[kind.family].items() if n in package.params}
    return EnvironmentEntry(package.name, levels, settings, about, skipped=package.skipped)


def _list_datasets() -> list[EnvironmentEntry]:
    fault = None
    try:
        gym.require_image()
    except ValueError as error:
        fault = str(error)
    entries = [
        EnvironmentEntry(
            f"{gym.NAME}:{name}",
            tuple(levels),
            gym.list_settings(name),
            fault or f"{gym.PACKAGE.distribution} {gym.PACKAGE.version}",
            usable=fault is None,
        )
        for name, levels in LEVELS.items()
    ]
    entries += [
        EnvironmentEntry(f"{gym.NAME}:{name}", (), {}, f"refused: {why}", usable=False)
        for name, why in REFUSED.items()
    ]
    return entries
