"""What the commands share: options, exit codes, and errors as one line."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from assay.neurons.settings.sections import Settings

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A TOML file with settings.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
LogFormat = Annotated[
    str | None,
    typer.Option("--log-format", metavar="FORMAT", help="human or json [default: human]."),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--metrics", metavar="HOST:PORT", help="Serve figures for Prometheus here [default: no]."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before money is spent.")]

NetworkName = Annotated[
    str | None,
    typer.Option(
        "--network", metavar="NAME", help="finney, test, local, or a ws:// URL [default: finney]."
    ),
]
Netuid = Annotated[int | None, typer.Option("--netuid", help="The subnet's number.")]
WalletName = Annotated[
    str | None,
    typer.Option("--wallet", metavar="NAME", help="The wallet's coldkey [default: default]."),
]
HotkeyName = Annotated[
    str | None,
    typer.Option("--hotkey", metavar="NAME", help="Hotkey within the wallet [default: default]."),
]
WalletPath = Annotated[
    Path | None,
    typer.Option(
        "--wallet-path", metavar="DIR", help="Folder of wallets [default: ~/.bittensor/wallets]."
    ),
]
StoreLocator = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help="Where others read your files: file:///folder, https://…"
    ),
]
Readable = Annotated[
    list[str] | None,
    typer.Option(
        "--readable", metavar="URL", help="Open locators found on chain below this; may repeat."
    ),
]
BeaconEndpoints = Annotated[
    list[str] | None,
    typer.Option("--beacon", metavar="URL", help="A drand endpoint; may repeat [default: public]."),
]
LocalnetFolder = Annotated[
    Path | None,
    typer.Option(
        "--localnet", metavar="DIR", help="Work on the network that `assay localnet` runs there."
    ),
]
Threads = Annotated[
    int | None, typer.Option("--threads", help="Of PyTorch [default: as many as it likes].")
]

if TYPE_CHECKING:
    from assay.neurons.settings.sections import Settings

OK, FINDING, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130


def load(
    config: Path | None,
    localnet: Path | None,
    role: str | None = None,
    /,
    **sections: dict[str, Any],
) -> "Settings":
    """Settings from flags by section, variables, a file, and below them all a localnet's.

    Args:
        role: "owner" or "trainer": whose wallet it is on a localnet, unless another is named.
    """
    from assay.neurons.settings.loading import load_settings

    if localnet is None:
        return _use_files(load_settings(config, sections))
    from assay.demo.localnet.description import is_running, read_settings

    settings = load_settings(config, sections, read_settings(localnet, role))
    if not is_running(localnet):  # it may be on its way back, and programs wait for it
        start = f"`assay localnet --dir {localnet}` in another terminal"
        print(f"assay: the localnet in {localnet} is not running: {start}", file=sys.stderr)
    return _use_files(settings)


def _use_files(settings: "Settings") -> "Settings":
    """Lets environments find the files of problems that this machine has."""
    if settings.environments.files:
        from assay.environments import add_problem_files

        add_problem_files(settings.environments.files)
    return settings


def say_what_opens(place: "Path | Settings", quiet: bool) -> None:
    """One line on standard error, at once: loading what opens it takes seconds.

    Args:
        place: a folder, or settings: the network that they name.
    """
    if quiet:
        return
    what = str(place)
    if not isinstance(place, Path):
        from assay.network.text import name_host

        network = place.chain.network
        subnet = "" if place.chain.netuid is None else f"subnet {place.chain.netuid} of "
        what = f"{subnet}{name_host(network) if '://' in network else network}"
    print(f"assay: opening {what} …", file=sys.stderr, flush=True)


def confirm(yes: bool, as_json: bool) -> Callable[[str], bool]:
    """Asks on the terminal; without one nothing is agreed to but by --yes."""

    def ask(question: str) -> bool:
        from assay.neurons.settings.loading import ConfigError

        if not yes and not sys.stdin.isatty():
            raise ConfigError(f"{question} There is no terminal to ask on: add --yes to agree")
        return yes or typer.confirm(question, err=as_json)

    return ask


@contextmanager
def plain_errors() -> Iterator[None]:
    """Errors that a person can mend become one line and exit code 2; Ctrl-C becomes 130."""
    try:
        yield
    except KeyboardInterrupt:
        _leave("stopped", INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(OK) from None
    except OSError as error:
        _leave(f"{error.filename or _find_place(error)}: {error.strerror or error}", COULD_NOT_RUN)
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:  # noqa: BLE001 - the outermost loop of a program
        from assay.protocol.errors import OperatorError

        if not isinstance(error, OperatorError):  # a defect of ours: all that is known of it
            from assay.network.text import hide

            print(hide(traceback.format_exc()), file=sys.stderr)
            _leave("this is a defect of assay; the lines above say where", COULD_NOT_RUN)
        _leave(str(error), COULD_NOT_RUN)


def _find_place(error: OSError) -> str:
    """Where of ours an error came up that names no file: what the system says is a riddle alone."""
    root, place = Path(__file__).parents[2], "file"
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(root) and "site-packages" not in path.relative_to(root).parts:
            place = f"{path.relative_to(root)}, line {frame.lineno}"
    return place


def _leave(message: str, code: int) -> NoReturn:
    print(f"assay: {message}", file=sys.stderr)
    raise typer.Exit(code)
