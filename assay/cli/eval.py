"""`assay eval`: opens the model, draws, and prints the figures."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from assay.cli.console import FIGURES, make_printable, make_table, print_result
from assay.cli.eval_request import EvaluationRequest
from assay.cli.saying import choose_say
from assay.evaluation.folder import RESULTS, EvaluationFolder
from assay.evaluation.model import open_folder
from assay.evaluation.run import Evaluation, EvaluationRules, Progress
from assay.evaluation.sampling import Sampler
from assay.network.hub.origin import name_source
from assay.neurons.miner.engines.sampling import EngineSampler, read_sampling_engine
from assay.settings.placing import open_placement
from assay.settings.sections import Settings
from assay.subnet.adoption.adopt import adopt_once
from assay.subnet.waiting import telling

#: Longest bar of a histogram, in letters.
_BAR = 30


def run_eval(settings: Settings, request: EvaluationRequest, quiet: bool, as_json: bool) -> None:
    """Evaluate a model, and print and write the result."""
    say = choose_say(quiet)
    placement = open_placement(settings.compute)
    engine = None if request.engine is None else read_sampling_engine(request.engine)
    folder = adopt_once(request.model, request.out, say)
    with telling(say, f"reading {folder}"):
        model = open_folder(folder, has_weights=engine is None)
    rules = EvaluationRules(
        request.samples,
        round(1_024 * request.temperature),
        request.max_tokens,
        request.seed,
        request.read.shots,
        bos=request.bos,
        plain=request.plain,
    )
    drawn_by = "assay" if engine is None else f"{engine.url}#{engine.model}"
    name = make_printable(name_source(request.model))
    evaluation = Evaluation(model, request.read.suites, rules, name, drawn_by)
    for warning in evaluation.warnings:
        say(f"warning: {warning}")

    def make_sampler() -> Sampler:
        if engine is not None:
            vocabulary = len(model.tokenizer.drawable)
            return EngineSampler(engine, model.tokenizer, model.end_tokens, rules, vocabulary)
        with telling(say, "loading the model"):
            loaded = model.load(placement)
        return model.make_sampler(loaded, rules.temperature, rules.max_tokens)

    files = EvaluationFolder(request.out)
    with files.hold(evaluation.make_plan()):
        progress = Progress(evaluation, say)
        for _ in evaluation.run(files, make_sampler):
            progress.tell()
    document = evaluation.make_results()
    printed = document | {"out": str(request.out)}
    print_result(printed, as_json, _render(document, request.out), FIGURES)


def _render(document: Mapping[str, Any], out: Path) -> Group:
    parts: list[Any] = []
    many = document["samples"] > 1
    bos = " with BOS" * document["bos"]
    for suite in document["suites"]:
        own = "" if suite["prompts"] is None else " with your own words"
        head = (
            f"{make_printable(suite['name'])}: {suite['asked']:,} of {suite['rows']:,} problems, "
            f"asked as {suite['convention']}{own}, {document['prompt']} prompt{bos}, "
            f"{len(document['shots'])} examples, {document['samples']} samples at temperature "
            f"{document['temperature']:g}"
        )
        parts.append(Text(head, style="bold"))
        for reason, rows in suite["left_out"].items():
            first = ", ".join(map(str, rows["first"][:5]))
            more = ", …" if rows["rows"] > 5 else ""
            text = f"  {rows['rows']:,} not asked: {make_printable(reason)} (row {first}{more})"
            parts.append(Text(text))
        for file, why in suite["uncompared"].items():
            said = f"  not all compared with the training file {file}: {why}"
            parts.append(Text(make_printable(said)))
        table = make_table("scorer", "figure", "value", "95 %", "by", left={"scorer", "figure"})
        for scorer in suite["scorers"]:
            for name, figure in _list_figures(scorer):
                low, high = (100 * figure[bound] for bound in ("low", "high"))
                cells = f"{100 * figure['value']:.1f} %", f"{low:.1f}–{high:.1f} %"
                table.add_row(Text(scorer["name"]), name, *cells, figure["method"])
        parts.append(table)
        if many:
            parts += [_draw_histogram(scorer) for scorer in suite["scorers"]]
        parts.append(
            Text(
                f"{suite['tokens']:,} tokens, {suite['mean_tokens']:g} a completion; "
                f"{suite['cut']:,} completions ended at {document['max_tokens']:,} tokens\n"
            )
        )
    parts.append(Text(f"{RESULTS} is in {out}"))
    return Group(*parts)


def _list_figures(scorer: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in ("pass", "maj"):
        for k, figure in scorer[kind].items():
            yield f"{kind}@{k}", figure


def _draw_histogram(scorer: Mapping[str, Any]) -> Text:
    """The number of problems by their right samples."""
    counts = scorer["histogram"]
    most = max(counts)
    wide = len(str(len(counts) - 1))
    lines = [
        f"  {right:>{wide}} right  {'█' * round(_BAR * count / most)} {count:,}"
        for right, count in enumerate(counts)
        if count
    ]
    return Text("\n".join([f"problems by right samples, {scorer['name']}:", *lines, ""]))
