"""Prompts as an owner writes them: a table for each part of the environment.

```toml
[environment.prompts.gsm]        # the part's name, or its family
system = "You are a careful mathematician."
before = "Question: "
after = "\\nAnswer: "
shots = [["1 + 1?", "2"]]
arguments = { enable_thinking = false }
```
"""

from collections.abc import Iterable, Mapping
from typing import Any

from assay.environments.registry import list_parts
from assay.protocol.encoding import EncodingError, from_json, to_json
from assay.protocol.parameters import (
    ARGUMENTS,
    PROMPT_TEXTS,
    Prompts,
    PromptText,
    Shot,
    find_prompts_fault,
    write_arguments,
)
from assay.settings.loading import ConfigError

_SHOTS = "shots"


def read_family_prompts(changes: Mapping[str, Any]) -> dict[str, Prompts]:
    """Family of environments → the record for it.

    Args:
        changes: see `find_tables`.

    Raises:
        ConfigError: says what is wrong, and where.
    """
    given = find_tables(changes)
    if isinstance(given, Mapping):
        pairs = [(key, _read_table(key, key, table)) for key, table in given.items()]
    else:
        pairs = [(one.part, one) for one in _read_records(given)]
    found: dict[str, Prompts] = {}
    for key, record in pairs:
        family = key.partition(":")[0]
        if family in found:
            raise ConfigError(f"several tables of environment.prompts are for {family}")
        found[family] = record
    if not found:
        raise ConfigError("environment.prompts has no table")
    return found


def find_tables(changes: Mapping[str, Any]) -> Any:
    """The tables or records of prompts.

    Args:
        changes: of parameters, or a recipe.

    Raises:
        ConfigError: there are none.
    """
    for place in (changes, changes.get("parameters")):
        environment = place.get("environment") if isinstance(place, Mapping) else None
        if isinstance(environment, Mapping) and "prompts" in environment:
            return environment["prompts"]
    raise ConfigError("there are no tables such as [environment.prompts.gsm]")


def read_prompts(given: Any, name: str, settings: Mapping[str, int]) -> tuple[Prompts, ...]:
    """The records of tables by part, or of a list as in the parameters' JSON.

    Args:
        name, settings: of the environment.

    Raises:
        ConfigError: says which table or field is wrong, and what it may be.
    """
    if isinstance(given, Mapping):
        parts = list_parts(name, settings)
        found = [_read_table(_find_part(key, parts), key, table) for key, table in given.items()]
    else:
        found = _read_records(given)
    prompts = tuple(sorted(found, key=lambda one: one.part))
    fault = find_prompts_fault(prompts)
    if fault is not None:
        raise ConfigError(f"environment: {fault}")
    return prompts


def _read_records(given: Any) -> list[Prompts]:
    """The records of a list as in the parameters' JSON."""
    if not isinstance(given, list):
        raise ConfigError("environment.prompts: write a table for each part, by its name")
    try:
        return [from_json(Prompts, one) for one in given]
    except EncodingError as error:
        raise ConfigError(f"environment.prompts: {error}") from None


def _find_part(key: str, parts: Iterable[str]) -> str:
    """The part that a person names by its name, or by its family if no other is of it."""
    parts = list(parts)
    found = [part for part in parts if part == key] or [
        part for part in parts if part.partition(":")[0] == key
    ]
    if len(found) != 1:
        raise ConfigError(
            f"environment.prompts.{key}: {'several parts are' if found else 'no part is'} of this "
            f"name: parts are {', '.join(parts)}"
        )
    return found[0]


def _read_table(part: str, key: str, table: Any) -> Prompts:
    where = f"environment.prompts.{key}"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: write a table with {', '.join((*PROMPT_TEXTS, _SHOTS))}")
    for name in table:
        if name not in (*PROMPT_TEXTS, _SHOTS):
            known = ", ".join((*PROMPT_TEXTS, _SHOTS))
            raise ConfigError(f"{where}.{name} is not one of {known}")
    texts = {}
    for name in PROMPT_TEXTS:
        value = table.get(name)
        if name == ARGUMENTS and isinstance(value, Mapping):
            try:
                value = write_arguments(value)
            except (TypeError, ValueError):
                raise ConfigError(
                    f"{where}.{name}: an argument is text, an integer, true or false"
                ) from None
        if value is not None and not isinstance(value, str):
            kind = "a table of names and values" if name == ARGUMENTS else "text"
            raise ConfigError(f"{where}.{name} is {kind}")
        if value is not None:
            texts[name] = value
    shots = table.get(_SHOTS, [])
    pairs = isinstance(shots, list) and all(
        isinstance(one, list) and len(one) == 2 and all(isinstance(text, str) for text in one)
        for one in shots
    )
    if not pairs:
        raise ConfigError(f'{where}.{_SHOTS}: write pairs, as in [["1 + 1?", "2"]]')
    record = Prompts(
        part,
        tuple(PromptText(name, text) for name, text in sorted(texts.items())),
        tuple(Shot(*one) for one in shots),
    )
    try:
        return from_json(Prompts, to_json(record))
    except EncodingError as error:
        raise ConfigError(f"{where}: {error}") from None
