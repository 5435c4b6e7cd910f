"""All environments by name. A new one adds a row here. `tests/environments/test_kinds.py` says what
else it needs."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from hashlib import sha256
from types import MappingProxyType

from assay.environments import (
    answer_form,
    arithmetic,
    gsm,
    letters_file,
    math_file,
    mixture,
    sat,
    text_file,
)
from assay.environments.answer_form import AnswerForm
from assay.environments.base import PART_LEVELS, Environment, Manner, Param, resolve_params
from assay.environments.foreign import package_environment
from assay.environments.gym import environment as gym_environment
from assay.environments.instructions import instruction_file
from assay.environments.kind import FromFile, Kind
from assay.environments.pieces import abduce, deduce, induce, propose
from assay.environments.pieces.growth import read_pool
from assay.environments.pooling import with_pool
from assay.environments.programs import code_file
from assay.environments.prompting import PARAMS, PromptedEnvironment, divide_settings, make_manner
from assay.environments.search import search_file
from assay.environments.tasksets import environment as taskset_environment
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

#: Name → the kind. What a new one adds to this table, its own module says. Files are tried in this
#: order, and told apart in it where their columns do not tell.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            arithmetic.KIND,
            codes.KIND,
            errands.KIND,
            guess.KIND,
            rooms.KIND,
            sat.KIND,
            gsm.KIND,
            math_file.KIND,
            letters_file.KIND,
            search_file.KIND,
            code_file.KIND,
            instruction_file.KIND,
            text_file.KIND,
            deduce.KIND,
            abduce.KIND,
            induce.KIND,
            propose.KIND,
            gym_environment.KIND,
            taskset_environment.KIND,
            package_environment.KIND,
        )
    }
)
_CHOSEN = re.compile(r"([^,=]+)=(-?[0-9]{1,18}|[a-z]+)")


def list_files() -> dict[str, FromFile]:
    """Name → the kinds that read files, in the order in which files are tried."""
    return {kind.name: kind.file for kind in KINDS.values() if kind.file is not None}


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
    solvers = _list_solvers()
    if propose.NAME in parts and not set(solvers) & set(parts):
        raise ValueError(
            f"{propose.NAME} is a part of mixtures that have {', '.join(solvers)}, or some of them"
        )


def _list_solvers() -> list[str]:
    """The names of environments whose problems a pool has."""
    return sorted(kind.name for kind in KINDS.values() if kind.asks_pool)


def _make_part(prompts: dict[str, Prompts], name: str, params: Mapping[str, int]) -> Environment:
    """One environment that is no mixture. Takes its prompts out of `prompts`."""
    own, manner, tool = divide_settings(state_tool(str(name).partition(":")[0], params))
    bare, words = _make_bare(name, own), prompts.pop(name, None)
    environment = add_tool(
        bare, tool, bare.tool if isinstance(bare, search_file.SearchFile) else None
    )
    if not manner and words is None:
        return environment
    return PromptedEnvironment(environment, manner, words)


def _make_bare(name: str, params: Mapping[str, int]) -> Environment:
    family, colon, what = str(name).partition(":")
    kind = KINDS.get(family)
    if kind is not None and colon and (named := kind.file or kind.datasets) is not None:
        return named.make(what, params)
    if kind is not None and not colon and kind.drawn is not None:
        return kind.drawn.make(params)
    known = [one.name for one in KINDS.values() if one.drawn is not None]
    files = [f"{one}:SHA256" for one in list_files()]
    others = [f"{one.name}:NAME" for one in KINDS.values() if one.datasets is not None]
    raise ValueError(
        f"there is no environment {name!r}; there are: "
        f"{', '.join([*sorted(known), *sorted(files), mixture.NAME, *others])}"
    )


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
    return not set(_list_solvers()).isdisjoint(parts)


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
    return {**_list_settings(name), **PARAMS, **TOOL_PARAMS}


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
    drawn = {kind.name for kind in KINDS.values() if kind.drawn is not None}
    own = [_make_part({}, part, settings[part]) for part in weights if part in drawn]
    return frozenset().union(*(one.rated for one in own))


def _list_settings(name: str) -> dict[str, Param]:
    """An environment's own settings; empty: it has none, or is of no kind."""
    family, colon, what = name.partition(":")
    return KINDS[family].list_settings(what if colon else None) if family in KINDS else {}


def _list_part_levels(name: str, params: Mapping[str, int], placeholder: str) -> list[int]:
    family, _, what = name.partition(":")
    kind = KINDS.get(family)
    datasets = None if kind is None else kind.datasets
    if what != placeholder and datasets is None:
        return list(_make_part({}, name, params).levels)
    if datasets is not None:  # its image need not be here
        datasets.require_dataset(what)
    resolve_params(name, {**_list_settings(name), **PARAMS, **TOOL_PARAMS}, params)
    if datasets is not None:
        return list(datasets.levels[what])
    if kind is None or kind.file is None:
        known = ", ".join(f"{each}:{placeholder}" for each in sorted(list_files()))
        raise ValueError(f"there is no environment {name!r} of a file; there are: {known}")
    return list(kind.file.levels)
