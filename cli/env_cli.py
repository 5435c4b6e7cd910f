"""`assay env`: the problems that a network may ask, looked at and tried out."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.options import AsJson, Config, load, plain_errors

app = typer.Typer(no_args_is_help=True, help="Problems: look at them, try answers.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Such as sat, or sat,k=4, or mix,sat=1,gsm=2.")
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="A file of word problems; may repeat.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]
Seed = Annotated[
    str, typer.Option("--seed", metavar="HEX", help="32 bytes; a window's challenge seed, say.")
]
Hotkey = Annotated[
    str | None, typer.Option("--hotkey", metavar="SS58", help="Whose problems [default: nobody's].")
]
Levels = Annotated[
    list[int] | None, typer.Option("--level", help="Levels in force; may repeat [default: all].")
]
_NO_SEED = "00" * 32


@app.command("list")
def env_list(files: Files = None, config: Config = None, as_json: AsJson = False) -> None:
    """List the environments there are, and why some cannot be used."""
    with plain_errors():
        load(config, None, environments={"files": files or None})
        from assay.cli.env import run_env_list

        run_env_list(as_json)


@app.command("show")
def env_show(
    name: Name, files: Files = None, config: Config = None, as_json: AsJson = False
) -> None:
    """Show an environment as parameters would name it: settings, levels, digest."""
    with plain_errors():
        load(config, None, environments={"files": files or None})
        from assay.cli.env import run_env_show

        run_env_show(name, as_json)


@app.command("sample")
def env_sample(
    name: Name,
    seed: Seed = _NO_SEED,
    count: Annotated[
        int, typer.Option("--n", min=1, max=10_000, help="How many problems [default: 3].")
    ] = 3,
    levels: Levels = None,
    hotkey: Hotkey = None,
    files: Files = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the first problems of a seed, as a miner would be asked them."""
    with plain_errors():
        load(config, None, environments={"files": files or None})
        from assay.cli.env import run_env_sample

        run_env_sample(name, seed, hotkey, levels, count, as_json)


@app.command("score")
def env_score(
    name: Name,
    answer: Annotated[
        str, typer.Option(metavar="TEXT", help="All that was answered; - reads it from stdin.")
    ],
    seed: Seed = _NO_SEED,
    index: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Which problem of the seed [default: 0].")
    ] = 0,
    levels: Levels = None,
    hotkey: Hotkey = None,
    files: Files = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Score an answer to a problem of a seed, in millionths, under the default reward weights."""
    with plain_errors():
        load(config, None, environments={"files": files or None})
        from assay.cli.env import run_env_score

        run_env_score(name, seed, hotkey, levels, index, answer, as_json)
