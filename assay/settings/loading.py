"""Loads settings from a TOML file, then `ASSAY_*` variables, then flags. Later sources win.

This is the only place where the environment is read. A nested name is written with two underscores:
`ASSAY_DEMO__WINDOWS=8` is `windows = 8` under `[demo]`.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from assay.network.toml_settings import list_mistakes, list_tables, name_place, read_toml
from assay.protocol.errors import OperatorError
from assay.protocol.ss58 import decode_ss58
from assay.settings.losses import FLAT
from assay.settings.sections import ChainSettings, Settings, get_flag_name

if TYPE_CHECKING:
    from assay.environments.base import Environment

_PREFIX = "ASSAY_"
_T = TypeVar("_T")


class ConfigError(OperatorError):
    """A setting that cannot be used. The message says which, and what to do."""


def load_settings(
    file: Path | None,
    flags: dict[str, dict[str, Any]],
    below: dict[str, dict[str, Any]] | None = None,
) -> Settings:
    """Settings from all three sources.

    Args:
        flags: section → field → value; None means that the flag was not given.
        below: of the same shape: replaces defaults, and every source wins over it.

    Raises:
        TomlError: a missing or broken file.
        ConfigError: unknown names, or values out of their range, one line for each.
    """
    _require_known_variables()
    written, text = ({}, "") if file is None else read_toml(file)
    written, lower = _separate_losses([written, below or {}])
    given = {
        section: present
        for section, fields in flags.items()
        if (present := {name: value for name, value in fields.items() if value is not None})
    }

    class AllSettings(BaseSettings, Settings):
        model_config = SettingsConfigDict(
            env_prefix=_PREFIX,
            env_nested_delimiter="__",
            extra="forbid",
            nested_model_default_partial_update=True,
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Order the sources. Earlier in the tuple wins."""
            return (
                init_settings,
                env_settings,
                InitSettingsSource(settings_cls, init_kwargs=written),
                InitSettingsSource(settings_cls, init_kwargs={"store": _read_aws_variables()}),
                InitSettingsSource(settings_cls, init_kwargs=lower),
            )

    try:
        return AllSettings(**given)  # type: ignore[arg-type] # sections by name
    except ValidationError as error:
        mistakes = []
        for mistake in list_mistakes(error, Settings, text):
            name = _find_source(mistake.path, given)
            if name is None:
                at = file if mistake.path[0] in written else None
                name = name_place(at, text, mistake.path)
            mistakes.append(f"{name} {mistake.what}")
        raise ConfigError("\n".join(mistakes)) from None


def _separate_losses(sources: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sources, the highest first, in which a loss that is a whole table takes over no bounds from
    below, and one that is a name none of another loss's."""
    variable, given = f"{_PREFIX}TRAINER__LOSS", {n.upper(): v for n, v in os.environ.items()}
    whole = given.get(variable, "").strip()
    is_whole = whole.startswith("{") or f"{variable}__TYPE" in given
    named = whole.strip('"') if whole and not is_whole else None
    found = []
    for source in sources:
        trainer = source.get("trainer")
        found.append(dict(source))
        if not isinstance(trainer, Mapping):
            continue
        if is_whole:
            kept = {n: v for n, v in trainer.items() if n not in ("loss", *FLAT)}
            found[-1]["trainer"] = kept
        loss = trainer.get("loss")
        if isinstance(loss, str):
            if named not in (None, loss):
                found[-1]["trainer"] = {n: v for n, v in trainer.items() if n not in FLAT}
            named = named or loss
        is_whole |= isinstance(loss, Mapping) and "type" in loss
    return found


def _find_source(path: tuple[str, ...], flags: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The flag or variable that set a value, or None."""
    section, name = (*path, "")[:2]
    if name in flags.get(section, {}):
        return get_flag_name(name, list_settings()[section][name])
    variable = f"{_PREFIX}{section}__{name}".upper()
    return f"environment variable {variable}" if variable in os.environ else None


def _read_aws_variables() -> dict[str, str]:
    """The credentials in the variables that all S3 tools read."""
    names = ("access_key_id", "secret_access_key", "session_token")
    variables = {name: os.environ.get(f"AWS_{name}".upper()) for name in names}
    return {name: value for name, value in variables.items() if value}


def list_settings() -> dict[str, dict[str, FieldInfo]]:
    """Section → name → field, of all settings."""
    return {
        section: field.annotation.model_fields  # type: ignore[union-attr] # all are models
        for section, field in Settings.model_fields.items()
    }


def _require_known_variables() -> None:
    """Refuse unknown variables and malformed lists. pydantic-settings ignores unknown variables,
    and a typing mistake should not pass silently. Nor does it say which variable is malformed."""
    known = {
        f"{_PREFIX}{section}__{name}".upper(): field
        for section, fields in list_settings().items()
        for name, field in fields.items()
    }
    known |= {
        f"{variable}__{name}".upper(): bound
        for variable, field in known.items()
        for table in list_tables(field).values()
        for name, bound in table.model_fields.items()
    }
    mistakes = []
    for variable, value in os.environ.items():
        if not variable.startswith(_PREFIX) or variable in _TOOL_VARIABLES:
            continue
        if variable not in known:
            near = get_close_matches(variable, known, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else "see docs/settings.md"
            mistakes.append(f"environment variable {variable} is not a setting: {hint}")
        elif get_origin(known[variable].annotation) is tuple:
            try:
                json.loads(value)
            except ValueError:
                mistakes.append(
                    f'environment variable {variable} is not a JSON list: use ["…", "…"]'
                )
    if mistakes:
        raise ConfigError("\n".join(mistakes))


#: Test suites read these, and a process of a team the last, not as settings.
_TOOL_VARIABLES = frozenset({"ASSAY_CHAIN_ENDPOINT", "ASSAY_SUBTENSOR_DIR", "ASSAY_TEAM"})


def use_sdk_cache(folder: Path) -> None:
    """Make the bittensor SDK keep runtime metadata in our own folder.

    The SDK files metadata by the first half of a genesis hash and by spec version, which local
    chains share: it would take the metadata of one for another's. The variable is its only setting.
    """
    os.environ["BITTENSOR_RUNTIME_CACHE_DIR"] = str(folder)


def make_cards_repeat() -> None:
    """Make a GPU's matrix products repeatable to the bit. Call before torch first uses a GPU."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def open_named_environment(text: str) -> "Environment":
    """The environment that a person names: `sat`, `sat,k=4`, or as `complete_name` takes it. Raises
    ConfigError: the text cannot be parsed, there is no such environment, or a setting is not one of
    its own."""
    from assay.environments.listing import complete_name
    from assay.environments.registry import make_environment, parse_choice

    try:
        return make_environment(*parse_choice(complete_name(text)))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def check_all(checks: Iterable[Callable[[], _T]]) -> list[_T]:
    """Make checks of which none needs another: their results. Raises ConfigError with the lines of
    all that fail."""
    done, faults = list[_T](), list[str]()
    for check in checks:
        try:
            done.append(check())
        except OperatorError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("\n".join(faults))
    return done


def require_netuid(settings: ChainSettings) -> int:
    """The subnet's number."""
    if settings.netuid is None:
        raise ConfigError(
            "which subnet? name it with --netuid, or netuid under [chain]; a localnet's "
            "folder with --localnet does as well"
        )
    return settings.netuid


def parse_hotkey(text: str, option: str) -> bytes:
    """The 32 bytes of a hotkey that a person names by its address. Raises ConfigError: the address
    is invalid."""
    try:
        return decode_ss58(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None


def split_windows(text: str) -> tuple[int, int]:
    """The first and the last window of `A..B`, both included, or of one number. Raises
    ConfigError: it is neither."""
    first, _, last = text.partition("..")
    last = last or first
    if not (first.isdecimal() and last.isdecimal() and max(len(first), len(last)) <= 12):
        raise ConfigError(f"--windows {text!r}: write A..B, such as 5..12")
    if int(first) > int(last):
        raise ConfigError(
            f"--windows {text!r}: the smaller number comes first; write {last}..{first}"
        )
    return int(first), int(last)


def make_out_folder(folder: Path) -> None:
    """Create the folder of --out if it is missing. Raises ConfigError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot write to --out {folder} ({error.strerror}): name a folder you may write to"
        ) from None
