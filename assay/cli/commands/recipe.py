"""`assay recipe`."""

from collections.abc import Callable, Mapping
from os import W_OK, access
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import typer

from assay.cli.checks import require_there
from assay.cli.command import Invocation, command
from assay.cli.exits import cleaning_up
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_data, open_model
from assay.cli.options import AsJson, Family, Quiet
from assay.cli.start import TORCH, starting

#: How recipes call the shipped model.
_SHIPPED = "the shipped model (assay/training/genesis)"

app = typer.Typer(
    cls=PagedGroup,
    no_args_is_help=True,
    help="Write a subnet's recipe.",
    epilog="assay recipe new problems.csv --model model",
)


@command(
    app,
    "new",
    "assay recipe new problems.csv --model model --out problems.toml",
    lambda s: (s.environments.files, s.compute.device),
)
def new(
    invocation: Invocation,
    asked: Annotated[
        str,
        typer.Argument(
            metavar="PATH|NAME",
            help="A file of problems (or data set ORG/NAME), a package (its archive or its "
            "folder), a taskset (its wheel or its bundle), or an environment, such as gsm; "
            "settings go behind a comma.",
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Model that the network begins with: a folder, a GGUF file, or ORG/NAME "
            "[default: the shipped one].",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The recipe [default: named as PATH, .toml]."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a recipe.")] = False,
    card: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="GPU of all: H100, H200, …, or cpu [default: this machine's]."
        ),
    ] = None,
    preset: Annotated[
        Literal["main", "demo"],
        typer.Option(help="Windows of 30 blocks of 12 s, or of 12 blocks of 1 s."),
    ] = "main",
    miners: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Number of miners [default: 4, without a GPU 2]."),
    ] = None,
    levels: Annotated[
        list[int] | None,
        typer.Option(
            "--level",
            metavar="LEVEL",
            help="Levels to begin with; may repeat [default: those that the model solves "
            "sometimes].",
        ),
    ] = None,
    problems: Annotated[
        int, typer.Option(min=8, max=4_096, help="Problems that are tried, and calibrated on.")
    ] = 64,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1 << 16,
            help="Most tokens of a completion that is tried [default: 1024, without a GPU 128].",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the problems that are tried.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="JSON Lines file (or data set ORG/NAME) that the taskset loads.",
        ),
    ] = None,
    read_as: Family = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a recipe for problems and a model: a whole subnet, in which each number has its reason.

    The model answers some of the problems. Levels, tokens, replies, units, the sizes of a window
    and the calibration's cap follow from that, and the trainer's settings from the GPU. The file is
    for `plan`, and for demo, localnet, train and `subnet publish` with --recipe. What they would
    refuse is said here, all of it, and nothing is written.
    """
    settings = invocation.load_settings()
    from assay.settings.loading import check_all

    named, comma, own = (asked, "", "") if Path(asked).exists() else asked.partition(",")

    def find(place: Path | None, opens: Callable[..., Path | None] = open_data) -> Path | None:
        found = opens(settings, place, quiet)
        require_there(found)
        return found

    is_path = (":" not in named and Path(named).name != Path(named).stem) or "/" in named
    path, data_file, model_folder, out = check_all(
        (
            lambda: find(Path(named)) if is_path else Path(named),
            lambda: find(data),
            lambda: find(model, open_model),
            lambda: _choose_out(Path(named), out, force),
        )
    )
    assert path is not None, "it is named"
    assert out is not None, "it has a default"
    with starting(settings, loads=TORCH, quiet=quiet):
        from assay.cli.recipe_view import show_recipe
        from assay.neurons.program.logs import log_lines, make_report, wants_json
        from assay.settings.placing import open_placement
        from assay.subnet.measurements import open_measurements
        from assay.subnet.new_recipe.making import RecipeRequest, make_recipe
        from assay.subnet.new_recipe.numbers import name_card
        from assay.training import GENESIS
    placement = open_placement(settings.compute)
    here = name_card(placement.device)
    request = RecipeRequest(
        asked=f"{path}{comma}{own}",
        model=model_folder or GENESIS,
        named=_SHIPPED if model is None else str(model),
        out=out,
        card=card or here,
        device=placement.device,
        is_here=card is None or card == here,
        preset=preset,
        levels=levels,
        miners=miners,
        ceiling=max_tokens,
        problems=problems,
        seed=seed,
        data=data_file,
        family=read_as,
        command=_name_command(
            asked,
            {
                "--model": model,
                "--card": card,
                "--preset": None if preset == "main" else preset,
                "--miners": miners,
                "--level": levels,
                "--problems": problems,
                "--max-tokens": max_tokens,
                "--seed": seed,
                "--data": data,
                "--as": read_as,
            },
        ),
    )
    with cleaning_up(), log_lines(wants_json(settings, as_json), quiet):
        made = make_recipe(request, make_report("recipe_note"), open_measurements())
    show_recipe(made, model, as_json)


def _name_command(asked: str, options: Mapping[str, object]) -> str:
    """The command that writes the same numbers again, for a comment in the file. A list is of an
    option that repeats."""
    words = ["assay", "recipe", "new", asked]
    for option, value in options.items():
        each = value if isinstance(value, list) else [value]
        words += [word for one in each if one is not None for word in (option, str(one))]
    return " ".join(map(quote, words))


def _choose_out(path: Path, out: Path | None, force: bool) -> Path:
    """The recipe's file. Raises ConfigError: it is there, or its folder is not."""
    from assay.settings.loading import ConfigError

    if out is None:
        stem = path.name.partition(":")[0].partition(".")[0] or "recipe"
        out = Path(f"{stem}.toml")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder: name a file")
    if not force and (out.exists() or out.is_symlink()):
        raise ConfigError(f"--out {out} already exists: name a new file, or add --force")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.absolute().parent}")
    if not access(out.absolute().parent, W_OK):
        raise ConfigError(f"--out {out}: you may not write into {out.absolute().parent}")
    if out.suffix == ".json":
        raise ConfigError(f"--out {out}: a recipe is TOML: name it FILE.toml")
    return out
