"""Settings from a TOML file, then `ASSAY_*` variables, then flags; later wins.

The only place where the environment is read. A nested name is written with two underscores:
`ASSAY_DEMO__WINDOWS=8` is `windows = 8` under `[demo]`.
"""

import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from assay.environments import Environment, make_environment, parse_choice
from assay.neurons.settings.sections import Settings, get_flag_name
from assay.protocol import decode_ss58
from assay.protocol.errors import OperatorError

_PREFIX = "ASSAY_"


class ConfigError(OperatorError):
    """A setting that cannot be used: says which, and what to do."""


def load_settings(
    file: Path | None,
    flags: dict[str, dict[str, Any]],
    below: dict[str, dict[str, Any]] | None = None,
) -> Settings:
    """Settings from all three sources.

    Args:
        flags: section → field → value; None means the flag was not given.
        below: of the same shape: stands in for defaults, every source wins over it.

    Raises:
        ConfigError: a missing or broken file, an unknown name or a value out of its range.
    """
    _require_known_variables()
    if file is not None:
        try:
            tomllib.loads(file.read_text())
        except OSError as error:
            raise ConfigError(f"--config {file}: {error.strerror}") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"--config {file} is not TOML: {error}") from None
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
            """Earlier in the tuple wins."""
            return (
                init_settings,
                env_settings,
                TomlConfigSettingsSource(settings_cls, toml_file=file),
                InitSettingsSource(settings_cls, init_kwargs={"store": _read_aws_variables()}),
                InitSettingsSource(settings_cls, init_kwargs=dict(below or {})),
            )

    try:
        return AllSettings(**given)  # type: ignore[arg-type] # sections by name
    except ValidationError as error:
        first = error.errors()[0]
        where = list(map(str, first["loc"]))
        said = _explain(first["type"], where, first["msg"])
        if where[1:2] and where[1] in given.get(where[0], {}):
            flag = get_flag_name(where[1], list_settings()[where[0]][where[1]])
            said = f"{flag}: {first['msg']}"
        raise ConfigError(said) from None


def _read_aws_variables() -> dict[str, str]:
    """The credentials that every tool of S3 finds in the environment."""
    names = ("access_key_id", "secret_access_key", "session_token")
    found = {name: os.environ.get(f"AWS_{name}".upper()) for name in names}
    return {name: value for name, value in found.items() if value}


def list_settings() -> dict[str, dict[str, FieldInfo]]:
    """Section → name → field, of all settings."""
    return {
        section: field.annotation.model_fields  # type: ignore[union-attr] # all are models
        for section, field in Settings.model_fields.items()
    }


def _explain(kind: str, where: list[str], message: str) -> str:
    """A setting that pydantic refused, with what was probably meant."""
    name = ".".join(where)
    if kind != "extra_forbidden":
        return f"setting {name!r}: {message}"
    known = list_settings()
    names = known.get(where[0], known)
    near = get_close_matches(where[-1], names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(names))}"
    return f"{name!r} is no setting: {hint}"


def _require_known_variables() -> None:
    """pydantic-settings ignores unknown variables; a typing mistake should not pass silently."""
    known = {
        f"{_PREFIX}{section}__{name}".upper()
        for section, fields in list_settings().items()
        for name in fields
    }
    for variable in os.environ:
        if variable.startswith(_PREFIX) and variable not in known | _TOOL_VARIABLES:
            near = get_close_matches(variable, known, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else "see docs/settings.md"
            raise ConfigError(f"environment variable {variable} is not a setting: {hint}")


#: Read by test suites, not by programs.
_TOOL_VARIABLES = frozenset({"ASSAY_CHAIN_ENDPOINT", "ASSAY_SUBTENSOR_DIR"})


def use_sdk_cache(folder: Path) -> None:
    """Has the bittensor SDK keep runtime metadata in a folder of our own.

    It files metadata by the first half of a genesis hash and by spec version, which local chains
    share: the metadata of one would be taken for another's. The variable is its only setting.
    """
    os.environ["BITTENSOR_RUNTIME_CACHE_DIR"] = str(folder)


def make_cards_repeat() -> None:
    """Has a card's matrix products give the same bits each time. Before torch first uses a card."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def list_others_variables() -> dict[str, str]:
    """The environment for other people's programs: without settings and secrets of our own, of
    object stores and of wallets."""
    ours = ("ASSAY_", "AWS_", "BT_", "BITTENSOR_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def open_named_environment(text: str) -> Environment:
    """An environment as a person writes it: `sat`, or `sat,k=4`. Raises ConfigError: it cannot be
    read so, there is no such environment, or a setting is not one of its own."""
    try:
        return make_environment(*parse_choice(text))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def parse_hotkey(text: str, option: str) -> bytes:
    """The 32 bytes of a hotkey that a person names by its address. Raises ConfigError: it is
    none."""
    try:
        return decode_ss58(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from None
