"""`assay train` and what is below it: the trainer, and its steps."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay.cli.checks import (
    require_bundle,
    require_files,
    require_own_out,
    require_signer,
    require_there,
)
from assay.cli.command import Invocation, command
from assay.cli.exits import COULD_NOT_RUN, FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_data, open_model
from assay.cli.options import (
    AllowLocalBeacon,
    AsJson,
    Quiet,
    Records,
    StepFetched,
    StepStores,
    Validator,
    network,
    program,
    reading,
)
from assay.cli.saying import choose_say, say_plainly
from assay.cli.start import TORCH, has_json_lines, starting

if TYPE_CHECKING:
    from assay.settings.sections import Settings

app = typer.Typer(cls=PagedGroup)


_STEP = "A step's record (steps/step-*.json), or, with --store, a checkpoint's digest."
StepRecordFile = Annotated[str, typer.Argument(metavar="RECORD", help=_STEP)]
StepModels = Annotated[
    Path | None,
    typer.Option(
        "--models",
        metavar="DIR",
        help="Folder of checkpoints by digest [default: models, beside the record's folder].",
    ),
]


PreparedModel = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="Folder of a model, a GGUF file, or ORG/NAME on the Hub."),
]
PreparedFolder = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder of the training run and its result.")
]
PreparedEnvironment = Annotated[
    str | None, typer.Option(metavar="NAME", help="Environment [default: the recipe's].")
]
PreparedLevels = Annotated[
    list[int] | None,
    typer.Option(
        "--level", metavar="LEVEL", help="Levels to learn; may repeat [default: the recipe's]."
    ),
]
PreparedSteps = Annotated[int, typer.Option(min=1, max=1_000_000, help="Most steps.")]
PreparedTrials = Annotated[
    int, typer.Option(min=1, max=1_000_000, help="Steps from one trial to the next.")
]
PreparedProblems = Annotated[
    int, typer.Option(min=1, max=65_536, help="Held-out problems of each trial.")
]
PreparedShow = Annotated[
    int | None,
    typer.Option(
        "--show",
        min=1,
        max=10_000,
        help="Show that many examples as the model will read them, and learn nothing.",
    ),
]


@command(
    app,
    None,
    "assay train --netuid 3 --wallet train --hotkey one --store URL "
    "\\\n    --recipe qwen2.5-1.5b-math",
    lambda s: (
        *program(s),
        s.trainer.dir,
        s.trainer.processes,
        s.trainer.follow,
        s.trainer.local_addr,
        s.trainer.open_to_network,
        s.trainer.suites,
        s.trainer.suite_prompts,
        s.trainer.suites_every,
        s.validator.devices,
        s.cluster.address,
    ),
    role="trainer",
)
def train(invocation: Invocation, quiet: Quiet = False, as_json: AsJson = False) -> int:
    """Train: judge all submissions, learn from accepted groups, publish checkpoints.

    The subnet's parameters must name the wallet's hotkey as trainer. It runs until Ctrl-C, and the
    same command continues.
    """
    settings = invocation.load_settings()
    if settings.trainer.follow:
        with starting(settings, loads=TORCH, quiet=quiet, problem_files=False):
            from assay.neurons.trainer.program import run_follower
        return run_follower(settings)
    require_signer(settings, "hotkey", stores=True)
    _require_folder(settings.trainer.dir)
    suites = [open_data(settings, suite, quiet) for suite in settings.trainer.suites]
    require_files(*suites)
    settings.trainer.suites = tuple(suites)
    words = {}
    if settings.trainer.suite_prompts is not None:
        from assay.cli.eval_request import read_words

        require_files(settings.trainer.suite_prompts)
        words = read_words(settings.trainer.suite_prompts)
    with starting(
        settings, loads=TORCH, opens=True, quiet=quiet, as_json=has_json_lines(settings, as_json)
    ):
        from assay.neurons.trainer.program import run_trainer
    return run_trainer(settings, as_json, quiet, again=_again(), words=words)


def _require_folder(folder: Path) -> None:
    """Check that the trainer's folder is none or a folder. `require_folder` would not do: the
    processes of a team check at the same moment, and only the first of them takes the folder."""
    from assay.settings.loading import ConfigError

    if any(path.exists() and not path.is_dir() for path in (folder, *folder.parents)):
        raise ConfigError(f"--dir {folder} is not a folder, or is below a file: name a folder")


def _preparing(s: "Settings") -> tuple[object, ...]:
    """What all courses of a preparation offer."""
    t = s.trainer
    team = t.processes, t.local_addr, t.open_to_network
    learning = t.lora_rank, t.precision, t.tokens_per_pass, t.seed
    return (s.compute, s.environments.files, *team, *learning)


@command(
    app,
    "warm-start",
    "assay train warm-start model --recipe qwen2.5-1.5b-math --out warm",
    _preparing,
    role="trainer",
)
def warm_start(
    invocation: Invocation,
    model: PreparedModel,
    directory: PreparedFolder = Path("assay-warm-start"),
    environment: PreparedEnvironment = None,
    levels: PreparedLevels = None,
    examples: Annotated[
        str | None,
        typer.Option(
            metavar="solutions|own|FILE",
            help="Worked solutions of the environment, the model's own right answers, or a file "
            "(or data set) of conversations [default: solutions, or own where there are none].",
        ),
    ] = None,
    steps: PreparedSteps = 120,
    batch: Annotated[int, typer.Option(min=1, max=65_536, help="Examples of a step.")] = 16,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1e-9, max=1, help="Highest learning rate [default: 1e-4, with LoRA factors 1e-3]."
        ),
    ] = None,
    every: PreparedTrials = 40,
    problems: PreparedProblems = 200,
    asked: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="With own: problems that the model answers.")
    ] = 512,
    tries: Annotated[
        int, typer.Option(min=1, max=1_024, help="With own: answers to each problem.")
    ] = 4,
    show: PreparedShow = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Fine-tune a model before RL (SFT cold start), so that some of its answers are right.

    A network learns nothing from groups without a right answer. The model first imitates worked
    solutions of the recipe's problems, by the recipe's learner, until at least 95 % of its answers
    can be read and the loss on held-out examples falls no more. DIR/model is then for `assay
    subnet publish --model`. After a stop, the same command continues.
    """
    recipe = _require_recipe(invocation)
    settings = invocation.load_settings()
    model = open_model(settings, model, quiet)
    source: Any = examples
    if examples not in (None, "solutions", "own"):
        source = open_data(settings, Path(examples), quiet)
        require_files(source)
    require_there(model)
    require_own_out(directory, "train warm-start")
    with starting(settings, loads=TORCH, quiet=quiet):
        from assay.cli.preparation import read_recipe_with, run_preparation
        from assay.subnet.warm_start import FACTORS_RATE, RATE, WarmStartRequest, run_warm_start
        from assay.training.preparation import PreparationConfig
    chosen = rate or (FACTORS_RATE if settings.trainer.lora_rank else RATE)
    request = WarmStartRequest(
        model=model,
        folder=directory,
        recipe=read_recipe_with(recipe, levels),
        environment=environment,
        source=source,
        config=PreparationConfig(steps, batch, chosen, every),
        problems=problems,
        asked=asked,
        tries=tries,
        show=show or 0,
    )
    return run_preparation(run_warm_start, settings, request, recipe, as_json, quiet, _again())


@command(
    app,
    "dpo",
    "assay train dpo model assay-contest --recipe qwen2.5-1.5b-math --out dpo",
    _preparing,
    role="trainer",
)
def dpo(
    invocation: Invocation,
    model: PreparedModel,
    pairs: Annotated[
        Path,
        typer.Argument(
            metavar="PAIRS",
            help="Folder of a contest, or a file (or data set) of prompt, chosen and rejected.",
        ),
    ],
    directory: PreparedFolder = Path("assay-dpo"),
    environment: PreparedEnvironment = None,
    levels: PreparedLevels = None,
    beta: Annotated[
        float,
        typer.Option(min=1e-6, max=100, help="How dear it is to leave the model's own answers."),
    ] = 0.1,
    steps: PreparedSteps = 120,
    batch: Annotated[int, typer.Option(min=1, max=65_536, help="Pairs of a step.")] = 16,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1e-9, max=1, help="Highest learning rate [default: 1e-6, with LoRA factors 1e-5]."
        ),
    ] = None,
    every: PreparedTrials = 40,
    problems: PreparedProblems = 200,
    show: PreparedShow = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Teach a model which of two answers somebody prefers, by direct preference optimisation.

    The pairs are those of `assay contest`, or anybody's; nobody is paid by them. Of ten pairs one
    is held out, up to 64: training ends when the loss on these falls no more, or after all steps.
    Each evaluation also answers the recipe's held-out problems. DIR/model is then for `assay subnet
    publish --model`. After a stop, the same command continues.
    """
    recipe = _require_recipe(invocation)
    settings = invocation.load_settings()
    model = open_model(settings, model, quiet)
    pairs = open_data(settings, pairs, quiet)
    require_there(model, pairs)
    require_own_out(directory, "train dpo")
    with starting(settings, loads=TORCH, quiet=quiet):
        from assay.cli.preparation import find_pairs, read_recipe_with, run_preparation
        from assay.subnet.preferences import FACTORS_RATE, RATE, PreferenceRequest, run_preferences
        from assay.training.preparation import PreparationConfig
    chosen = rate or (FACTORS_RATE if settings.trainer.lora_rank else RATE)
    request = PreferenceRequest(
        model=model,
        folder=directory,
        recipe=read_recipe_with(recipe, levels),
        environment=environment,
        source=find_pairs(pairs),
        beta=beta,
        config=PreparationConfig(steps, batch, chosen, every),
        problems=problems,
        show=show or 0,
    )
    return run_preparation(run_preferences, settings, request, recipe, as_json, quiet, _again())


@command(
    app,
    "distill",
    "assay train distill small large --recipe qwen2.5-1.5b-math --out small-2",
    _preparing,
    role="trainer",
)
def distill(
    invocation: Invocation,
    model: PreparedModel,
    teacher: Annotated[
        Path, typer.Argument(metavar="TEACHER", help="The teacher, in the same forms as MODEL.")
    ],
    directory: PreparedFolder = Path("assay-distill"),
    environment: PreparedEnvironment = None,
    levels: PreparedLevels = None,
    steps: PreparedSteps = 120,
    batch: Annotated[int, typer.Option(min=1, max=65_536, help="Answers of a step.")] = 16,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1e-9, max=1, help="Highest learning rate [default: 1e-5, with LoRA factors 1e-4]."
        ),
    ] = None,
    every: PreparedTrials = 40,
    problems: PreparedProblems = 200,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Teach a model to answer as a larger one would, by on-policy distillation.

    The model answers the recipe's problems itself, and the teacher rates each token that it draws:
    the loss is the reverse KL divergence from the teacher. Both must have the same tokenizer. Each
    evaluation also answers held-out problems. DIR/model is then for `assay subnet publish --model`.
    After a stop, the same command continues.
    """
    recipe = _require_recipe(invocation)
    settings = invocation.load_settings()
    model, teacher = open_model(settings, model, quiet), open_model(settings, teacher, quiet)
    require_there(model, teacher)
    require_own_out(directory, "train distill")
    with starting(settings, loads=TORCH, quiet=quiet):
        from assay.cli.preparation import read_recipe_with, run_preparation
        from assay.subnet.distillation import (
            FACTORS_RATE,
            RATE,
            DistillationRequest,
            run_distillation,
        )
        from assay.training.preparation import PreparationConfig
    chosen = rate or (FACTORS_RATE if settings.trainer.lora_rank else RATE)
    request = DistillationRequest(
        model=model,
        folder=directory,
        recipe=read_recipe_with(recipe, levels),
        environment=environment,
        teacher=teacher,
        config=PreparationConfig(steps, batch, chosen, every),
        problems=problems,
    )
    return run_preparation(run_distillation, settings, request, recipe, as_json, quiet, _again())


def _require_recipe(invocation: Invocation) -> str:
    from assay.settings.loading import ConfigError

    if invocation.source.recipe is None:
        raise ConfigError(
            "name a recipe with --recipe: it says which problems are asked and how a model learns"
        )
    return invocation.source.recipe


def _again() -> list[str]:
    """Arguments of Python that start this command once more."""
    return ["-m", "assay", *sys.argv[1:]]


@command(
    app,
    "verify-step",
    "assay train verify-step steps/step-8.json",
    lambda s: (*network(s), *reading(s)),
)
def verify_step(
    invocation: Invocation,
    record: StepRecordFile,
    models: StepModels = None,
    store: StepStores = None,
    directory: StepFetched = Path("assay-steps"),
    offline: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE", help="Compare the groups with a bundle of `assay audit export`."
        ),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Also look for miners' files in this store; may repeat."),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file whose examples the step imitates, if any."),
    ] = None,
    validator: Validator = None,
    records: Records = None,
    allow_local_beacon: AllowLocalBeacon = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Repeat a training step from the data beside its record, and compare bit by bit.

    With --offline, --netuid or --localnet it also compares the groups with what miners committed on
    chain, and a gate's counts with the answers. A return to a milestone is checked as what it is:
    nothing was learned. Exit codes: 0 equal, 1 different (it names the first tensor or group that
    differs), 2 could not run, or equal but some groups could not be checked. On another kind of CPU
    or with another PyTorch the last bits can differ; the command says how this machine differs.
    """
    from assay.settings.loading import ConfigError

    source = invocation.source
    named = (*source.flags["chain"].values(), source.localnet, offline)
    has_network = any(value is not None for value in named)
    if not has_network and (files or validator or records):
        raise ConfigError("name a bundle with --offline, or a network with --netuid")
    settings = source.load()
    _require_step(record, store)
    require_there(models, examples)
    require_bundle(offline)
    with starting(settings, loads=TORCH, quiet=quiet):
        from assay.artifacts.steps.examples import keep_examples
        from assay.artifacts.steps.request import StepRequest
        from assay.artifacts.steps.returns import Return
        from assay.audit.opening import AuditRequest
        from assay.audit.provenance.step_check import (
            ProvenanceRequest,
            check_groups,
            repeat_step,
            verify_return,
        )
        from assay.cli.step_view import get_step_code, show_comparison, show_groups, show_unrepeated
        from assay.protocol.errors import OperatorError
    request = StepRequest(record, models, tuple(store or ()), directory)
    made, checkpoints = request.open_made()
    audited = AuditRequest(validator, None, records, offline, allow_local_beacon=allow_local_beacon)
    provenance = ProvenanceRequest(audited, files or ()) if has_network else None
    if isinstance(made, Return):
        returned, counts = verify_return(settings, request, provenance, made, checkpoints)
        show_comparison(made.record, returned, counts, as_json, quiet)
        return get_step_code(returned, counts)
    step, findings = made, None
    if examples is not None:
        keep_examples(step.path.parent, examples)
    if provenance is not None:
        findings = check_groups(settings, request, provenance, step, checkpoints)
        if not as_json and not quiet:
            show_groups(step, findings)
    try:
        comparison = repeat_step(step, checkpoints, findings, choose_say(quiet, say_plainly))
    except OperatorError as error:
        if as_json and findings is not None:
            show_unrepeated(step, error, findings)
        raise
    show_comparison(step.record, comparison, findings, as_json, quiet)
    return get_step_code(comparison, findings)


@command(app, "watch", "assay train watch --dir assay-train", lambda s: (s.trainer.dir,))
def watch(invocation: Invocation, as_json: AsJson = False) -> int:
    """Say whether a training run learns, is flat, collapses or is starved, and what helps.

    It reads the folder of a trainer or of a demo. Of a trainer whose folder has no windows.json it
    reads the steps, with fewer figures: anyone can fetch them. Exit codes: 0 neither of the last
    two, 1 it collapses or is starved, 2 could not run.
    """
    settings = invocation.load_settings()
    require_there(settings.trainer.dir)
    with starting(settings, loads=TORCH, quiet=True, problem_files=False):
        from assay.audit.provenance.course import read_course
        from assay.cli.console import print_result
        from assay.neurons.trainer.status import describe_course
        from assay.training.watch import CourseState, judge_course
    verdict = judge_course(read_course(settings.trainer.dir))
    print_result(describe_course(verdict), as_json, str(verdict))
    return FINDING if verdict.state in (CourseState.COLLAPSES, CourseState.STARVED) else OK


@command(app, "proposals", "assay train proposals --dir assay-train", lambda s: (s.trainer.dir,))
def proposals(
    invocation: Invocation,
    steps: Annotated[int, typer.Option(min=1, max=10_000, help="Newest steps to read.")] = 8,
    rows: Annotated[int, typer.Option(min=1, max=8_192, help="Newest proposals to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what a network has proposed to itself: who wrote it, who solved it, how hard it was.

    For networks whose environment has the part `propose`. It reads the steps in the folder of a
    trainer, or fetched ones with their checkpoints: what miners' groups say that these steps
    consumed, each in the step of its window. It scores all of them again, in the sandbox.
    """
    settings = invocation.load_settings()
    require_there(settings.trainer.dir)
    with starting(settings, loads=TORCH, quiet=True):
        from assay.audit.provenance.proposals import read_pool_history
        from assay.cli.proposals_view import show_proposals
    show_proposals(read_pool_history(settings.trainer.dir, steps), rows, as_json)


@command(app, "trace-step", "assay train trace-step steps/step-8.json --out trace")
def trace_step(
    invocation: Invocation,
    record: StepRecordFile,
    models: StepModels = None,
    store: StepStores = None,
    directory: StepFetched = Path("assay-steps"),
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the trace [default: beside the record]."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Repeat a training step and write every operator's inputs and outputs, as a tree of hashes.

    `assay train bisect` shows where two traces of one step begin to differ. The folder can serve as
    a store. Exit codes: 0 the tensors are those of the record, 1 they are not, 2 could not run.
    """
    settings = invocation.load_settings()
    _require_step(record, store)
    require_own_out(out, "train trace-step")
    with starting(settings, loads=TORCH, quiet=quiet, problem_files=False):
        from assay.artifacts.checkpoints.folder import CheckpointFolder
        from assay.artifacts.steps.request import StepRequest
        from assay.audit.tracing import step_trace
        from assay.cli.step_view import show_trace
        from assay.settings.loading import make_cards_repeat
    step, checkpoints = StepRequest(record, models, tuple(store or ()), directory).open()
    folder = out or step.path.with_suffix(".trace")
    make_cards_repeat()
    trace = step_trace.trace_step(
        step, CheckpointFolder(checkpoints), folder, choose_say(quiet, say_plainly)
    )
    show_trace(step, trace, folder, as_json, quiet)
    return OK if trace[0].tensors == step.record.tensors else FINDING


@command(app, "bisect", "assay train bisect trace-a trace-b")
def bisect(
    invocation: Invocation,
    a: Annotated[str, typer.Argument(metavar="A", help="A trace: its folder, or a store's URL.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another trace of the same step.")],
    step: Annotated[
        str | None, typer.Option(metavar="RECORD", help=f"Repeat the operator here. {_STEP}")
    ] = None,
    models: StepModels = None,
    store: StepStores = None,
    directory: StepFetched = Path("assay-steps"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Find the first operator where two traces of a step differ, and say which trace is right.

    It reads two nodes of each trace at every level. With --step it repeats that operator here, on
    the inputs that both traces name, and emulates other machines. Exit codes: 0 equal, or the
    machines differ and neither lies, 1 one is wrong or contradicts itself, 2 could not run, or
    undecided.
    """
    settings = invocation.load_settings()
    _require_step(step, store)
    require_there(a, b)
    with starting(settings, loads=TORCH, quiet=quiet, problem_files=False):
        from assay.artifacts.checkpoints.folder import CheckpointFolder
        from assay.artifacts.steps.request import StepRequest
        from assay.artifacts.steps.trace_files import open_trace
        from assay.audit.tracing.bisection import bisect_traces
        from assay.cli.step_view import show_bisection
        from assay.settings.loading import make_cards_repeat
    repeated, checkpoints = None, None
    if step is not None:
        repeated, folder = StepRequest(step, models, tuple(store or ()), directory).open()
        checkpoints = CheckpointFolder(folder)
    traces = open_trace(a), open_trace(b)
    make_cards_repeat()
    bisection = bisect_traces(*traces, repeated, checkpoints, choose_say(quiet, say_plainly))
    show_bisection(bisection, traces, as_json, quiet)
    if bisection.accuses:
        return FINDING
    return OK if bisection.is_settled else COULD_NOT_RUN


def _require_step(record: str | None, stores: list[str] | None) -> None:
    """Check that a step's record is here, unless it is in a store."""
    if record is not None and not stores:
        require_there(Path(record))
