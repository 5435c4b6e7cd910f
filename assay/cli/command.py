"""A command: one function, with its own options as parameters and the settings that it offers.

    @command(app, "mine", "assay mine …", lambda s: (*program(s), s.miner.dir, s.miner.groups))
    def mine(invocation: Invocation, quiet: Quiet = False) -> int:
        settings = invocation.load_settings()
        …

The names, types, defaults and help of these settings' options are those of
`assay/settings/sections`, which is read only once the command is called: pydantic would double
the time of `assay --help`. So `s` is the settings for an editor and a type checker, and when it
runs a stand-in that remembers names. A section stands for all of its fields.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

from assay.cli.exits import OK, plain_errors
from assay.cli.help_pages import (
    DETAILS,
    GENERAL,
    MACHINE,
    NETWORK,
    PANELS,
    PagedCommand,
    PagedContext,
    PagedGroup,
    find_panel,
)
from assay.cli.settings_source import SettingsSource

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from assay.settings.sections import Settings

_Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", rich_help_panel=GENERAL, help="A TOML file with settings."
    ),
]
_Localnet = Annotated[
    Path | None,
    typer.Option(
        "--localnet",
        metavar="DIR",
        rich_help_panel=NETWORK,
        help="Folder of an `assay localnet` to work on.",
    ),
]
_Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe", metavar="RECIPE", help="Train by this recipe: a file, or a shipped one's name."
    ),
]

#: Options that help shows last in their panel.
_LAST = ("localnet", "config", "quiet", "as_json")
#: Section → the panel of its settings' options, but of those that most calls name.
_PANELS = {
    **dict.fromkeys(("chain", "wallet", "store", "beacon"), DETAILS),
    **dict.fromkeys(("compute", "cluster"), MACHINE),
    **dict.fromkeys(("metrics", "log", "hub"), GENERAL),
}
_COMMON = {
    ("chain", "network"),
    ("chain", "netuid"),
    ("wallet", "name"),
    ("wallet", "hotkey"),
    ("store", "locator"),
}

Offers = Callable[["Settings"], tuple[object, ...]]
#: A command's function. Returns an exit code; None: 0.
Action = Callable[..., int | None]


class Invocation(PagedContext):
    """One call of a command, which its function gets first."""

    source: SettingsSource

    def load_settings(self) -> "Settings":
        """The settings by flags, variables and files. Raises ConfigError, TomlError."""
        return self.source.load()

    def invoke(self, callback: Any, /, *args: Any, **values: Any) -> Any:
        """Call the command's function. Its errors become one line, its result the exit code."""
        if self.invoked_subcommand is not None:  # a group's own action is not wanted
            return None
        flags: dict[str, dict[str, Any]] = {}
        for path in [name for name in values if "__" in name]:
            section, _, name = path.partition("__")
            value = values.pop(path)
            flags.setdefault(section, {})[name] = None if value in ((), []) else value
        role = self.command.role  # type: ignore[attr-defined] # see `_make_class`
        shared = ("config", "localnet", *(["recipe"] if role == "trainer" else []))
        given = {name: values.pop(name, None) for name in shared}
        self.source = SettingsSource(flags, role=role, **given)
        with plain_errors():
            raise typer.Exit(super().invoke(callback, *args, **values) or OK)


def command(
    app: typer.Typer,
    name: str | None,
    example: str,
    offers: Offers | None = None,
    role: str | None = None,
) -> Callable[[Action], Action]:
    """Register a function of an `Invocation` and a command's own options.

    Args:
        name: None: the action of a group if none of its commands is named.
        example: a line, or several, for the page of help.
        offers: settings that become options. With one of the chain, the wallet or what is
            published there is also `--localnet`, with any at all `--config`.
        role: see `SettingsSource`.
    """

    def register(action: Action) -> Action:
        if name is None:
            group = _make_class(PagedGroup, offers, role)
            app.callback(cls=group, invoke_without_command=True, epilog=example)(action)
        else:
            cls = _make_class(PagedCommand, offers, role)
            app.command(name, cls=cls, epilog=example)(action)
        return action

    return register


class _Named:
    """Stands in for the settings: remembers which section or field is named."""

    def __init__(self, *path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> "_Named":
        return _Named(*self._path, name)

    def __call__(self) -> tuple[str, ...]:
        """Its name, and before it that of its section."""
        return self._path


def _list_offered(offers: Offers) -> list[tuple[str, ...]]:
    """The paths of offered sections and fields, in order."""
    settings: Any = _Named()
    offered: Any = offers(settings)
    return [named() for named in offered]


def _make_class(base: Any, offers: Offers | None, role_: str | None) -> Any:
    """A class of commands with options for settings, which are made when they are needed."""

    class OfferingCommand(base):  # type: ignore[misc]
        context_class = Invocation
        params: list[Any]
        role = role_
        has_all = False

        def get_params(self, ctx: typer.Context) -> Any:
            if not self.has_all:
                self.has_all = True
                options = [] if offers is None else _make_options(_list_offered(offers), role_)
                self.params = sorted([*self.params, *options], key=_rank)
            return super().get_params(ctx)

        def get_short_help_str(self, limit: int = 0) -> str:
            """The first paragraph, in whole sentences, which lists of commands wrap."""
            return " ".join((self.help or "").partition("\n\n")[0].split())

        def parse_args(self, ctx: typer.Context, args: list[str]) -> Any:
            try:
                return super().parse_args(ctx, args)
            except typer.BadParameter as error:
                error.message = _say_allowed(error)
                raise

    return OfferingCommand


def _say_allowed(error: typer.BadParameter) -> str:
    """Typer's text about a value, or for a setting its allowed values, as for a setting in a
    file."""
    section, _, name = (getattr(error.param, "name", None) or "").partition("__")
    plain = error.message.removeprefix("Value error, ")
    if not plain.startswith("Input should be"):  # pydantic's, which typer calls
        return plain
    if not name:
        plain = plain.partition(", unable to parse")[0].removeprefix("Input should be ")
        plain = plain.removeprefix("a valid ").replace("integer", "whole number")
        return f"use a {plain}" if plain.endswith("number") else f"use a number {plain}"
    from assay.network.toml_settings import describe_allowed
    from assay.settings.loading import list_settings

    return f"use {describe_allowed(list_settings()[section][name])}"


def _rank(option: Any) -> tuple[int, int]:
    last = _LAST.index(option.name) if option.name in _LAST else -1
    return PANELS.index(find_panel(option)), last


def _make_options(offered: list[tuple[str, ...]], role: str | None) -> list[Any]:
    """Typer's own options for settings, from a function that would take them: typer has no other
    public way to make one."""
    from assay.settings.sections import Settings

    annotations: dict[str, Any] = {}
    for section, *names in offered:
        settings: Any = Settings.model_fields[section].annotation
        for name in names or settings.model_fields:
            annotations[f"{section}__{name}"] = _make_option(
                section, name, settings.model_fields[name]
            )
    if {section for section, *_ in offered} & {"chain", "wallet", "publish"}:
        annotations["localnet"] = _Localnet
    if role == "trainer":
        annotations["recipe"] = _Recipe
    annotations["config"] = _Config

    def take(**_: Any) -> None: ...

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, kind, default=None, annotation=option)
        for name, option in annotations.items()
    ]
    take.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    take.__annotations__ = annotations
    app = typer.Typer(add_completion=False)
    app.command()(take)
    return typer.main.get_command(app).params


def _make_option(section: str, name: str, info: "FieldInfo") -> Any:
    """The annotation of a parameter for a field."""
    from assay.settings.sections import get_flag, get_flag_name

    kind: Any = info.annotation
    flag = get_flag(info)
    many, metavar = False, flag.metavar
    while (origin := get_origin(kind)) is not None:
        first, *rest = get_args(kind)
        if origin is Literal:
            metavar, first = "|".join((first, *rest)), str
        many = many or origin is tuple
        kind = first
    decl = get_flag_name(name, info)
    panel = NETWORK if (section, name) in _COMMON else _PANELS.get(section)
    option = typer.Option(
        decl, metavar=metavar, rich_help_panel=panel, help=_make_help(decl, many, info)
    )
    return Annotated[(list[kind] if many else kind) | None, option]


def _make_help(decl: str, many: bool, info: "FieldInfo") -> str:
    """Help text: `the bucket; None: another's` becomes `The bucket [default: another's].`"""
    text, _, default = (info.description or "").partition("; None: ")
    if many:
        text, _, default = text.partition("; none: ")
        text += "; may repeat"
    elif info.default is False:
        default = decl.partition("/--")[2].replace("-", " ")
    elif info.default is not None:
        default = str(info.default)
    if text.split()[0].isalpha():  # neither a name nor a value
        text = text[0].upper() + text[1:]
    return f"{text} [default: {default}]." if default else f"{text}."
