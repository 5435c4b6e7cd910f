"""Shared parts of commands: options made from the settings, exit codes, and errors as one line.

A command names the settings that it offers as flags, and its function's file: `@command(app,
"mine", *NETWORK, runs="neurons")`. The flags' names, types, defaults and help come from
`neurons/settings/sections`. That and the file with the function are read only once the command is
called: `assay --help` loads neither.
"""

import inspect
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, get_args, get_origin

import typer

from assay.cli.first_checks import Check
from assay.cli.help_pages import PagedCommand, PagedGroup
from assay.cli.interrupts import require_wanted

if TYPE_CHECKING:  # pydantic and its plugins would double the time of `assay --help`
    from pydantic.fields import FieldInfo

    from assay.neurons.settings.sections import Settings

AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
_Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A TOML file with settings.")
]
_Localnet = Annotated[
    Path | None,
    typer.Option("--localnet", metavar="DIR", help="Folder of an `assay localnet` to work on."),
]

_Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe", metavar="RECIPE", help="Train by this recipe: a file, or a shipped one's name."
    ),
]

#: Settings that commands offer as flags, by purpose.
NETWORK = ("chain.network", "chain.netuid")
WALLET = ("wallet.*",)
READING = ("store.readable", "beacon.endpoints")
LEDGER = ("ledger.endpoint", "ledger.chain_id", "ledger.contract")
COMPUTE = ("compute.*",)
PROGRAM = (*NETWORK, *WALLET, "store.locator", *READING, *COMPUTE, "metrics.listen", "log.format")

#: Seconds between two looks at a localnet that is starting, and until it is given up.
_POLL_S, _START_SECONDS = 0.2, 300.0

OK, FINDING, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130
#: Options that help shows last.
_LAST = ("localnet", "config", "quiet", "as_json")


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """The values on a command line for settings."""

    #: section → field → value; None if the flag was not given
    flags: dict[str, dict[str, Any]] = field(default_factory=dict)
    config: Path | None = None
    localnet: Path | None = None
    #: "owner" or "trainer": whose wallet to use on a localnet, unless another is named
    role: str | None = None
    recipe: str | None = None  # its trainer's settings and its implementation replace defaults
    waits: bool = True  # for a localnet that is being made

    def load(self, problem_files: bool = True) -> "Settings":
        """Load settings from flags, variables and a file, with a localnet's as defaults. Adds their
        files of problems to the environments."""
        from assay.neurons.settings.loading import load_settings

        below: dict[str, dict[str, Any]] = {}
        if self.recipe is not None:
            from assay.subnet.recipe import read_recipe

            recipe = read_recipe(self.recipe)
            below["trainer"] = recipe.trainer.model_dump(exclude_unset=True)
            below["compute"] = {"implementation": recipe.course.implementation}
        if self.localnet is None:
            settings = load_settings(self.config, self.flags, below)
        else:
            from assay.lab.localnet.description import is_running, is_starting, read_settings

            if self.waits and is_starting(self.localnet):
                announce(f"waiting for the localnet in {self.localnet}, which is starting")
                deadline = time.monotonic() + _START_SECONDS
                while is_starting(self.localnet) and time.monotonic() < deadline:
                    time.sleep(_POLL_S)
            there = read_settings(self.localnet, self.role)
            for section, values in below.items():
                there[section] = values | there.get(section, {})
            settings = load_settings(self.config, self.flags, there)
            if not is_running(self.localnet):  # it may be restarting: programs wait for it
                start = f"`assay localnet --dir {self.localnet}` in another terminal"
                say = f"assay: the localnet in {self.localnet} is not running: {start}"
                print(say, file=sys.stderr)
        if problem_files:
            _add_problem_files(settings)
        return settings


def prepare(
    settings: "Settings",
    own: Mapping[str, Any],
    *first: Check,
    loads: str | None = None,
    opens: "Path | bool" = False,
    problem_files: bool = True,
) -> None:
    """Do everything that comes before a command's heavy part: its checks, one line about what it
    loads or opens, and the settings' files of problems.

    Args:
        own: the command's options by name.
        first: the checks; each raises an OperatorError.
        loads: a library that takes seconds to load.
        opens: the settings' chain is opened, or this folder.
    """
    for check in first:
        check(settings, own)
    if opens is True:
        from assay.network.chain.target import ChainTarget

        chain = settings.chain
        ChainTarget.require_named(chain.network, *chain.fallbacks, *chain.archives)
    doing = [] if loads is None else [f"loading {loads}"]
    if opens is not False:
        doing.append(f"opening {_name_place(settings if opens is True else opens)}")
    if doing and not own.get("quiet"):
        logs = own.get("logs", False)
        announce(", then ".join(doing), logs and (own["as_json"] or settings.log.format == "json"))
    if problem_files:
        _add_problem_files(settings)


def _add_problem_files(settings: "Settings") -> None:
    if settings.environments.files:
        from assay.environments import add_problem_files

        add_problem_files(settings.environments.files)


def announce(doing: str, as_json: bool = False) -> None:
    """Print one line on standard error, at once. `as_json`: a program's lines are JSON, and so is
    this one (docs/metrics.md). The log's library would take a while to load."""
    line = f"assay: {doing} …"
    if as_json:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        said = {"at": at, "event": "loading", "message": f"{doing} …", "level": "info"}
        line = json.dumps(said | {"window": None, "phase": None, "hotkey": None})
    print(line, file=sys.stderr, flush=True)


Declared = Callable[..., int | None]


def command(
    app: typer.Typer,
    name: str | None,
    *fields: str,
    runs: str | None = None,
    role: str | None = None,
    problem_files: bool = True,
    first: tuple[Check, ...] = (),
    loads: str | None = None,
    opens: bool = False,
) -> Callable[[Declared], None]:
    """Register a command: a function of its own options. The function that it runs returns an exit
    code or None.

    Args:
        name: None: the action of a group if none of its commands is named.
        fields: settings that become flags, as `section.field`, or `section.*` for all. With one of
            the chain or the wallet there is also `--localnet`, with any at all `--config`.
        runs: file of this folder with the function of the same name, which is called with
            `Settings` and the options by name; a `yes` becomes `confirm`. None: the declared
            function itself is called, with `SettingsSource` before its options.
        first, loads, opens, problem_files: see `prepare`, which comes before `runs` is loaded.
    """
    given = {"loads": loads, "opens": opens, "problem_files": problem_files}
    ready = partial(prepare, **given)  # type: ignore[arg-type] # by name

    def register(function: Declared) -> None:
        called = function
        if runs is not None:
            logs = "log.format" in fields
            called = partial(_run, runs, function.__name__, ready, first, logs)
        callback = _make_callback(function, called, skipped=int(runs is None))
        if name is None:
            kind = _make_class(PagedGroup, fields, role)
            app.callback(cls=kind, invoke_without_command=True)(callback)
        else:
            app.command(name, cls=_make_class(PagedCommand, fields, role))(callback)

    return register


def _run(
    file: str,
    name: str,
    ready: Callable[..., None],
    first: tuple[Check, ...],
    logs: bool,
    source: SettingsSource,
    /,
    **own: Any,
) -> int | None:
    settings = source.load(problem_files=False)
    ready(settings, own | {"logs": logs}, *first)
    if "yes" in own:
        own["confirm"] = confirm(own.pop("yes"), own["as_json"])
    function = getattr(import_module(f"assay.cli.{file}"), name)
    require_wanted()  # importing can lose a Ctrl-C
    code: int | None = function(settings, **own)
    return code


def _make_callback(function: Declared, called: Declared, skipped: int) -> Callable[..., None]:
    """The function that typer calls: with the context for `SettingsSource`, and errors as one
    line."""

    def run(caller: typer.Context, **own: Any) -> None:
        if caller.invoked_subcommand is None:
            with plain_errors():
                raise typer.Exit(called(caller.obj, **own) or OK)

    parameters = list(inspect.signature(function).parameters.values())[skipped:]
    kind = inspect.Parameter.KEYWORD_ONLY
    shown = [inspect.Parameter("caller", kind, annotation=typer.Context)]
    _set_signature(run, [*shown, *(given.replace(kind=kind) for given in parameters)])
    run.__doc__ = function.__doc__
    return run


def _make_class(base: Any, fields: tuple[str, ...], role: str | None) -> Any:
    """A class of commands with options for settings, which are made when they are needed."""

    class SettingsCommand(base):  # type: ignore[misc]
        params: list[Any]
        has_all = False

        def get_params(self, ctx: typer.Context) -> Any:
            if not self.has_all:
                self.has_all = True
                options = [*self.params, *_make_options(fields, role)]
                self.params = sorted(options, key=lambda option: _rank(option.name))
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

        def invoke(self, ctx: typer.Context) -> Any:
            flags: dict[str, dict[str, Any]] = {}
            for name in [name for name in ctx.params if "__" in name]:
                section, _, key = name.partition("__")
                value = ctx.params.pop(name)
                flags.setdefault(section, {})[key] = None if value in ((), []) else value
            ours = ("config", "localnet", *(["recipe"] if role == "trainer" else []))
            given = {name: ctx.params.pop(name, None) for name in ours}
            ctx.obj = SettingsSource(flags, role=role, **given)
            return super().invoke(ctx)

    return SettingsCommand


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
    from assay.neurons.settings.loading import list_settings

    return f"use {describe_allowed(list_settings()[section][name])}"


def _rank(name: str) -> int:
    return _LAST.index(name) if name in _LAST else -1


def _make_options(fields: tuple[str, ...], role: str | None) -> list[Any]:
    """Typer's own options for settings, from a function that would take them."""
    if not fields:
        return []
    from assay.neurons.settings.sections import Settings

    taken: dict[str, Any] = {}
    for section, name in (pair.split(".") for pair in fields):
        settings: Any = Settings.model_fields[section].annotation
        for each in settings.model_fields if name == "*" else [name]:
            taken[f"{section}__{each}"] = _make_option(each, settings.model_fields[each])
    if {name.split(".")[0] for name in fields} & {"chain", "wallet"}:
        taken["localnet"] = _Localnet
    if role == "trainer":
        taken["recipe"] = _Recipe
    taken["config"] = _Config

    def take(**_: Any) -> None: ...

    kind = inspect.Parameter.KEYWORD_ONLY
    _set_signature(
        take,
        [inspect.Parameter(name, kind, default=None, annotation=taken[name]) for name in taken],
    )
    app = typer.Typer(add_completion=False)
    app.command()(take)
    return typer.main.get_command(app).params


def _set_signature(function: Any, parameters: list[inspect.Parameter]) -> None:
    function.__signature__ = inspect.Signature(parameters)
    function.__annotations__ = {each.name: each.annotation for each in parameters}


def _make_option(name: str, info: "FieldInfo") -> Any:
    """The annotation of a parameter for a field."""
    from assay.neurons.settings.flags import get_flag, get_flag_name

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
    option = typer.Option(
        decl,
        metavar=metavar,
        help=_make_help(decl, many, info),
        exists=flag.exists,
        dir_okay=not flag.exists,
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


def _name_place(place: "Path | Settings") -> str:
    """The place that is opened, without an address's secrets."""
    if isinstance(place, Path):
        return str(place)
    from assay.network.text import name_host

    network = place.chain.network
    subnet = "" if place.chain.netuid is None else f"subnet {place.chain.netuid} of "
    return f"{subnet}{name_host(network) if '://' in network else network}"


def confirm(yes: bool, as_json: bool) -> Callable[[str], bool]:
    """A function that asks on the terminal. Without a terminal, only --yes agrees."""

    def ask(question: str) -> bool:
        from assay.neurons.settings.loading import ConfigError

        if not yes and not sys.stdin.isatty():
            raise ConfigError(f"{question} There is no terminal to ask on: add --yes to agree")
        return yes or typer.confirm(question, err=as_json)

    return ask


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn errors that a person can fix into one line and exit code 2, and Ctrl-C into 130."""
    try:
        yield
    except KeyboardInterrupt:
        _leave("stopped", INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(OK) from None
    except OSError as error:
        _leave(f"{error.filename or _find_place(error)}: {error.strerror or error}", COULD_NOT_RUN)
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001 - the outermost loop of a program
        from assay.protocol.errors import OperatorError

        if not isinstance(error, OperatorError):  # a defect of ours: show all details
            from assay.network.text import hide

            print(hide(traceback.format_exc()), file=sys.stderr)
            _leave("this is a defect in assay; the lines above say where", COULD_NOT_RUN)
        _leave(str(error), COULD_NOT_RUN)


def _find_place(error: OSError) -> str:
    """The place in our code where an error without a file's name was raised: the system's text
    alone does not explain it."""
    root, place = Path(__file__).parents[1], "file"
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(root) and "site-packages" not in path.relative_to(root).parts:
            place = f"{path.relative_to(root.parent)}, line {frame.lineno}"
    return place


def _leave(message: str, code: int) -> NoReturn:
    for line in message.splitlines() or [""]:  # several settings are wrong: one line for each
        print(f"assay: {line}", file=sys.stderr)
    raise typer.Exit(code)
