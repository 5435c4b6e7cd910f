"""`assay eval`."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import require_files, require_own_out, require_there
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_data, open_model
from assay.cli.options import AsJson, Columns, Prompts, Quiet, read_columns
from assay.cli.saying import choose_say
from assay.cli.start import TORCH, add_problem_files, starting

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "eval",
    "assay eval model --suite test.jsonl --samples 4",
    lambda s: (s.environments.files, s.compute),
)
def eval_(
    invocation: Invocation,
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="Folder of a model or of a checkpoint, a GGUF file, or ORG/NAME on the Hub.",
        ),
    ],
    suites: Annotated[
        list[Path] | None,
        typer.Option(
            "--suite",
            metavar="FILE",
            help="Problems, as `assay env look` reads them (file or data set); may repeat.",
        ),
    ] = None,
    environments: Annotated[
        list[str] | None,
        typer.Option(
            "--environment",
            metavar="NAME",
            help="An environment's held-out problems, such as gsm or gsm,level=4; may repeat.",
        ),
    ] = None,
    problems: Annotated[
        int, typer.Option(min=1, max=100_000, help="Problems of each environment.")
    ] = 200,
    samples: Annotated[
        int, typer.Option(min=1, max=1_024, help="Completions of each problem.")
    ] = 1,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0, max=64, help="Sampling temperature [default: 0, with several samples 1]."
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1 << 20,
            help="Most tokens of a completion [default: 1,024, or as many as the context holds].",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of all draws.")] = 0,
    plain: Annotated[
        bool, typer.Option("--plain", help="Leave out the model's chat template.")
    ] = False,
    bos: Annotated[
        bool, typer.Option("--bos", help="Begin prompts with the tokenizer's bos_token.")
    ] = False,
    prompts: Prompts = None,
    shots: Annotated[
        int, typer.Option(min=0, max=64, help="Solved examples before each problem.")
    ] = 0,
    shots_from: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take its first rows as examples.")
    ] = None,
    columns: Columns = None,
    trained: Annotated[
        list[Path] | None,
        typer.Option(
            "--trained",
            metavar="FILE",
            help="Leave out problems that this file (or data set) has, too; may repeat.",
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="URL#MODEL", help="OpenAI-compatible server that draws [default: this program]."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for completions and results.json.")
    ] = Path("assay-eval"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model on suites of problems: pass@1, pass@k and maj@k, with 95 % intervals.

    Each suite is asked by its own convention, which the result names: prompt, stops and scorers.
    Files of `gsm` are asked and scored as lm_eval does it, others by their boxed answer, letter,
    instructions or programs. An environment asks and scores as in a network, and its problems are
    those that a trainer measures. After a stop, the same command continues.
    """
    settings = invocation.load_settings()
    model = open_model(settings, model, quiet)
    suites = [open_data(settings, suite, quiet) for suite in suites or ()]
    trained = [open_data(settings, file, quiet) for file in trained or ()]
    shots_from = open_data(settings, shots_from, quiet)
    require_there(model, *suites, *trained, shots_from)
    if prompts is not None:
        require_files(prompts)
    require_own_out(out, "eval")
    from assay.cli.eval_request import read_words
    from assay.evaluation.request import EvaluationRequest, EvaluationRules, read_suites

    at = float(samples > 1) if temperature is None else temperature
    rules = EvaluationRules(samples, round(1_024 * at), max_tokens or 0, seed, bos=bos, plain=plain)
    words, chosen = read_words(prompts), read_columns(columns)
    files = model, suites, rules, shots, shots_from, words, chosen, trained, engine, out
    request = EvaluationRequest(*files, environments or (), problems)
    add_problem_files(settings, quiet)
    asked, rules = read_suites(request)
    with starting(settings, loads=TORCH, quiet=quiet, problem_files=False):
        from assay.cli.eval_view import show_evaluation
        from assay.lab.evaluation import evaluate
    results = evaluate(request, asked, rules, settings.compute, choose_say(quiet))
    show_evaluation(results, out, as_json)
