"""`assay env`."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.checks import require_files, require_problem_files, require_there
from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import find_shards, open_data, open_model
from assay.cli.options import AsJson, Columns, Family, Prompts, Quiet, read_columns
from assay.cli.saying import choose_say
from assay.cli.start import TORCH, starting

if TYPE_CHECKING:
    from assay.environments.base import Environment

app = typer.Typer(
    cls=PagedGroup,
    no_args_is_help=True,
    help="List, try, score and make environments.",
    epilog="assay env sample gsm --n 2",
)


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="An environment, such as sat, sat,k=4 or mix,sat=1,gsm=2; or a file of problems.",
    ),
]
Seed = Annotated[
    str,
    typer.Option(
        "--seed",
        metavar="HEX",
        show_default=False,
        help="32 bytes, for example a window's challenge seed [default: zeros].",
    ),
]
Hotkey = Annotated[
    str | None,
    typer.Option(
        "--hotkey", metavar="SS58", help="Hotkey of the problems' miner [default: nobody]."
    ),
]
Levels = Annotated[
    list[int] | None,
    typer.Option("--level", metavar="LEVEL", help="Levels in force; may repeat [default: all]."),
]
_NO_SEED = "00" * 32


@command(app, "list", "assay env list", lambda s: (s.environments.files,))
def list_(invocation: Invocation, as_json: AsJson = False) -> int:
    """List all environments, and say why some cannot be used."""
    settings = invocation.load_settings()
    with starting(settings):
        from assay.cli.env_view import show_environments
        from assay.environments.listing import list_environments
    entries, named = list_environments(), set(map(str, settings.environments.files))
    show_environments(entries, as_json)
    return FINDING if any(not entry.usable for entry in entries if entry.file in named) else OK


@command(app, "show", "assay env show sat,k=4", lambda s: (s.environments.files,))
def show(invocation: Invocation, name: Name, as_json: AsJson = False) -> None:
    """Show an environment's settings, levels and digest, as in a network's parameters."""
    settings = invocation.load_settings()
    with starting(settings):
        from assay.cli.env_view import show_environment
        from assay.settings.loading import open_named_environment
    show_environment(open_named_environment(name), as_json)


@command(app, "sample", "assay env sample gsm --n 2", lambda s: (s.environments.files,))
def sample(
    invocation: Invocation,
    name: Name,
    seed: Seed = _NO_SEED,
    count: Annotated[
        int | None,
        typer.Option(
            "--n", min=1, max=10_000, help="Number of problems [default: 3, or 1 with --play]."
        ),
    ] = None,
    levels: Levels = None,
    hotkey: Hotkey = None,
    play: Annotated[
        bool,
        typer.Option(
            "--play",
            help="Play them: each line of stdin is a turn, to which the environment replies.",
        ),
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="MODEL", help="Also show the text and ids that this model sees."
        ),
    ] = None,
    prompts: Prompts = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Take the words and max_tokens of a recipe."),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1 << 20,
            help="Tokens of an answer that the context must hold [default: the recipe's, or 1].",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a seed's first problems, as a miner gets them, or play them turn by turn.

    With a model, say also what is probably wrong with the prompts.
    """
    settings = invocation.load_settings()
    if prompts is not None:
        require_files(prompts)
    model = open_model(settings, model)
    with starting(settings, loads=TORCH if model else None, opens=model or False):
        from assay.cli.sample_view import show_samples
        from assay.subnet.problem_samples import SampleRequest, sample_problems
    count = count or (1 if play else 3)
    request = SampleRequest(name, seed, count, levels, hotkey, model, prompts, recipe, max_tokens)
    if play:
        from assay.cli.env_play import run_env_play

        return run_env_play(request, as_json)
    return show_samples(sample_problems(request), as_json)


@command(
    app,
    "score",
    "assay env score sums --answer 'The answer is 42.'",
    lambda s: (s.environments.files,),
)
def score(
    invocation: Invocation,
    name: Name,
    answer: Annotated[
        str, typer.Option(metavar="TEXT", help="The whole answer; - reads it from stdin.")
    ],
    seed: Seed = _NO_SEED,
    index: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Index of the problem.")] = 0,
    levels: Levels = None,
    hotkey: Hotkey = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="DIR", help="End tokens of this model, as text, end the answer."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score an answer to one of a seed's problems, in millionths, by a preset's rewards."""
    settings = invocation.load_settings()
    with starting(settings, loads=TORCH if model else None, opens=model or False):
        from assay.cli.env_view import read_answer, show_score
        from assay.environments.rewards import choose_rewards, compute_reward
        from assay.settings.loading import open_named_environment
        from assay.subnet.problem_samples import SampleRequest, make_problem
    environment = open_named_environment(name)
    given = read_answer() if answer == "-" else answer
    if model is not None:
        from assay.evaluation.model import open_folder

        given = open_folder(model, has_weights=False).tokenizer.strip(given)
    request = SampleRequest(name, seed, levels=levels, hotkey=hotkey)
    problem = make_problem(environment, request, index)
    parts = environment.score(problem, given)
    rewards = choose_rewards(environment.rated)  # by which length costs nothing
    show_score(parts, compute_reward(parts, 0, rewards, 1), as_json)


@command(app, "look", "assay env look problems.jsonl")
def look(
    invocation: Invocation,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Problems as JSON Lines, JSON, CSV or Parquet; FOLDER or FOLDER/SPLIT of several "
            "such files; or a data set ORG/NAME on the Hub.",
        ),
    ],
    columns: Columns = None,
    suites: Annotated[
        list[Path] | None,
        typer.Option(
            "--suite",
            metavar="FILE",
            help="Name the rows whose problems this file (or data set) has, too; may repeat.",
        ),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            metavar="FILE",
            help="Write the rows that are kept as JSON Lines, into a new file.",
        ),
    ] = None,
    read_as: Family = None,
    as_json: AsJson = False,
) -> int:
    """Show how a file of problems would be read: columns, levels, filtered rows, and why.

    Exit code 1 if no environment can use the file as it is, and none is written.
    """
    settings = invocation.load_settings()
    held = [open_data(settings, suite) for suite in suites or []]
    shards = find_shards(file)
    if len(shards) == 1:
        (file,) = shards
    elif not shards:
        file = open_data(settings, file)
        require_files(file)
    require_problem_files(*held)
    chosen, say = read_columns(columns), choose_say(quiet=False)
    if write is not None:
        _require_new(write)
    _require_family(read_as)
    with starting(settings):
        from hashlib import sha256

        from assay.cli.look_view import show_look
        from assay.environments.problem_look import look_at_file
        from assay.environments.problem_report import write_rows
        from assay.environments.problem_shards import join_files
        from assay.network.files import write_file
        from assay.sandbox import count_cores
        from assay.settings.loading import ConfigError
    joined = join_files(shards, say) if len(shards) > 1 else None
    gc.disable()  # nothing of what is read becomes garbage, and collecting is a third of the work
    try:
        look, rows = look_at_file(
            file, chosen, held, joined, say, family=read_as, processes=count_cores()
        )
    finally:
        gc.freeze()  # nor is it looked through afterwards
        gc.enable()
    written = ""
    if write is not None:
        if not look.asked:
            raise ConfigError(f"--write {write}: no row of {file} can be asked")
        data = write_rows(rows, look.corpus)
        write_file(write, data)
        written = f"{look.environment.partition(':')[0]}:{sha256(data).hexdigest()}"
    show_look(look, write, written, as_json)
    return OK if look.is_usable or written else FINDING


def _require_family(family: str | None) -> None:
    """Raises ConfigError if no environment of that name reads a table."""
    from assay.environments.problem_formats import FORMATS
    from assay.settings.loading import ConfigError

    if family is not None and family not in FORMATS:
        raise ConfigError(f"--as {family}: {', '.join(sorted(FORMATS))} read files of problems")


def _require_new(file: Path) -> None:
    """Raises ConfigError where something would be replaced, or a folder made."""
    from assay.settings.loading import ConfigError

    if file.exists() or file.is_symlink():
        raise ConfigError(f"--write {file}: it is there already: name a new file")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"--write {file}: there is no folder {file.absolute().parent}")


@command(app, "new", "assay env new my_env --turns")
def new(
    invocation: Invocation,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the package: a-z, 0-9 and _.")
    ],
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="New folder [default: NAME].")
    ] = None,
    turns: Annotated[
        bool, typer.Option("--turns", help="A multi-turn environment, which replies to the model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create an environment of your own: package, levels, adversarial set, tests."""
    settings = invocation.load_settings()
    with starting(settings):
        from assay.cli.console import print_result
        from assay.environments.foreign.new_package import write_new_package
        from assay.network.files import write_file
        from assay.settings.loading import ConfigError
    try:
        texts = write_new_package(name, turns)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    place = Path(name) if folder is None else folder
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ConfigError(f"--dir {place} exists and is not empty: name another folder")
    try:
        for path, text in texts.items():
            write_file(place / path, text.encode())
    except OSError as error:
        raise ConfigError(f"--dir {place}: {error.strerror}") from None
    lines = [*(f"  {place / path}" for path in texts), "try it:"]
    lines += [f"  cd {place} && python -m pytest", f"  assay env vet {place / name}"]
    print_result({"files": [str(place / path) for path in texts]}, as_json, "\n".join(lines))


@command(app, "vet", "assay env vet problems.jsonl", lambda s: (s.environments.files,))
def vet(
    invocation: Invocation,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH|NAME",
            help="A package (its archive or its folder), a taskset (its wheel or its bundle), or "
            "a file of problems (or data set ORG/NAME); or an environment, such as sat,k=4.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="JSON Lines file (or data set ORG/NAME) that the taskset loads.",
        ),
    ] = None,
    units: Annotated[
        int | None,
        typer.Option(
            "--units",
            metavar="N",
            help="Millions of instructions that a package or a taskset may take for a problem, a "
            "score or an episode, as the subnet's units [default: 200].",
        ),
    ] = None,
    problems: Annotated[
        int | None,
        typer.Option(
            "--problems",
            metavar="N",
            min=1,
            max=1_000_000,
            help="Problems that a package or a taskset is asked to make, as far as five minutes "
            "suffice [default: 1,000].",
        ),
    ] = None,
    read_as: Family = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Test whether a package, a taskset of verifiers 0.4 or a file of problems is fit for a subnet.

    It gives the reasons. For an environment, it says what reward-hacking baselines earn, and which
    `satisfaction_floor` keeps partial credit from them, and it attacks multi-turn environments.
    Exit code 1 if it is not fit, 2 if it cannot be read or tested.
    """
    settings = invocation.load_settings()
    options = data, units, problems, read_as
    is_named = (
        not any(one is not None for one in options) and not path.exists() and "/" not in str(path)
    )
    _require_family(read_as)
    if not is_named:
        path, data = open_data(settings, path), open_data(settings, data)
        require_there(path, data)
    with starting(settings):
        from assay.cli.vet_view import show_vetted_environment, show_vetted_file
        from assay.neurons.program.logs import log_lines, make_report
        from assay.subnet.vetting import VetRequest, vet_environment, vet_file
    if is_named:
        environment = _open_vetted(str(path))
        with log_lines(as_json, quiet):
            tried = vet_environment(environment, make_report)
        show_vetted_environment(tried, str(path), as_json)
        return OK if tried.is_fit else FINDING
    vetted = vet_file(VetRequest(path, data, units, problems, read_as), choose_say(quiet))
    show_vetted_file(vetted, as_json, read_as)
    return OK if vetted.report.is_fit else FINDING


def _open_vetted(name: str) -> "Environment":
    """An environment by a name that is no file's. Raises ConfigError."""
    from assay.settings.loading import ConfigError, open_named_environment

    try:
        return open_named_environment(name)
    except ConfigError as error:
        known = ":" in name or "," in name
        fault = str(error) if known else "nor an environment: see `assay env list`"
        raise ConfigError(f"{name}: there is no such file or folder; {fault}") from None


@command(
    app, "export", "assay env export gsm --verifiers taskset", lambda s: (s.environments.files,)
)
def export(
    invocation: Invocation,
    name: Name,
    verifiers: Annotated[
        Path | None,
        typer.Option(
            "--verifiers", metavar="DIR", help="Write a taskset of verifiers 0.4: a wheel."
        ),
    ] = None,
    inspect: Annotated[
        Path | None,
        typer.Option("--inspect", metavar="DIR", help="Write a task of Inspect: a folder."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export an environment for verifiers 0.4 or for Inspect, with the same seeds and scorer."""
    settings = invocation.load_settings()
    with starting(settings):
        from assay.cli.env_view import show_exported, show_exported_task
        from assay.settings.loading import ConfigError
        from assay.subnet.vetting import export_environment, export_for_inspect
    if (verifiers is None) == (inspect is None):
        raise ConfigError("name a folder with --verifiers or --inspect, one of the two")
    if verifiers is not None:
        show_exported(*export_environment(name, verifiers), as_json)
    elif inspect is not None:
        show_exported_task(*export_for_inspect(name, inspect), as_json)
