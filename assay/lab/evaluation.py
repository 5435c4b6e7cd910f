"""An evaluation from a model's folder to its figures: opens the model, and draws."""

from collections.abc import Sequence
from typing import Any

from assay.evaluation.folder import EvaluationFolder
from assay.evaluation.model import open_folder
from assay.evaluation.request import EvaluationRequest, EvaluationRules
from assay.evaluation.run import Evaluation, Progress
from assay.evaluation.sampling import Sampler
from assay.evaluation.suite import Suite
from assay.network.hub.origin import name_source
from assay.network.text import make_printable
from assay.neurons.miner.engines.sampling import EngineSampler, read_sampling_engine
from assay.settings.placing import open_placement
from assay.settings.sections import ComputeSettings
from assay.subnet.adoption.adopt import adopt_once
from assay.subnet.waiting import Report, ignore_report, telling


def evaluate(
    request: EvaluationRequest,
    suites: Sequence[Suite],
    rules: EvaluationRules,
    compute: ComputeSettings,
    report: Report = ignore_report,
) -> dict[str, Any]:
    """Evaluate a model on what `read_suites` has read, and write the result into the request's
    folder. Returns `Evaluation.make_results`.

    Raises:
        CheckpointError, ConfigError, EngineError: the model, the device or the engine cannot be
            used.
        EvaluationError: the suites do not fit the model, or the folder is another's.
    """
    placement = open_placement(compute)
    engine = None if request.engine is None else read_sampling_engine(request.engine)
    folder = adopt_once(request.model, request.out, report)
    with telling(report, f"reading {folder}"):
        model = open_folder(folder, has_weights=engine is None)
    name = make_printable(name_source(request.model))
    drawn_by = "assay" if engine is None else f"{engine.url}#{engine.model}"
    evaluation = Evaluation(model, suites, rules, name, drawn_by)
    rules = evaluation.rules  # with the tokens that the context holds
    for warning in evaluation.warnings:
        report(f"warning: {warning}")

    def make_sampler() -> Sampler:
        if engine is not None:
            vocabulary = len(model.tokenizer.drawable)
            return EngineSampler(engine, model.tokenizer, model.end_tokens, rules, vocabulary)
        with telling(report, "loading the model"):
            loaded = model.load(placement)
        return model.make_sampler(loaded, rules.temperature, rules.max_tokens)

    files = EvaluationFolder(request.out)
    with files.hold(evaluation.make_plan()):
        progress = Progress(evaluation, report)
        for _ in evaluation.run(files, make_sampler):
            progress.tell()
    return evaluation.make_results()
