"""The commands for readers: of records, windows, steps and their results."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from assay.cli.chain_commands import train_app
from assay.cli.first_checks import (
    require_export,
    require_hotkeys,
    require_offline,
    require_subnet,
    require_there,
    require_windows,
)
from assay.cli.help_pages import PagedGroup
from assay.cli.options import (
    COMPUTE,
    LEDGER,
    NETWORK,
    READING,
    AsJson,
    Quiet,
    SettingsSource,
    announce,
    command,
    prepare,
)

app = typer.Typer(cls=PagedGroup)
audit_app = typer.Typer(cls=PagedGroup)

#: Checks of the validator and the windows that an audit is asked for.
_SCOPE = (require_windows, require_hotkeys(validator="--validator"))

Validator = Annotated[
    str | None,
    typer.Option(
        "--validator",
        metavar="SS58",
        help="The record's validator [default: the only announced one].",
    ),
]
Windows = Annotated[
    str | None,
    typer.Option(
        "--windows",
        metavar="A..B",
        help="Windows, both ends included [default: the newest settlement's].",
    ),
]
Records = Annotated[
    str | None,
    typer.Option(
        "--records",
        metavar="URL",
        help="Store or folder of the record [default: as announced on chain].",
    ),
]
AllowLocalBeacon = Annotated[
    bool,
    typer.Option(
        "--allow-local-beacon", help="Accept a bundle with a beacon chain other than quicknet."
    ),
]
_TORCH = "PyTorch"
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
StepStores = Annotated[
    list[str] | None,
    typer.Option(
        "--store", metavar="URL", help="Fetch a checkpoint's step from this store; may repeat."
    ),
]
StepFetched = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Folder for downloads.")]


@command(app, "explain", *NETWORK, "wallet.name", "wallet.path", *READING, *COMPUTE)
def run_explain(
    source: SettingsSource,
    window: Annotated[int, typer.Option(metavar="W", min=0, help="The window.")],
    hotkey: Annotated[
        str | None,
        typer.Option(
            metavar="SS58", help="The miner; in a demo's folder, its name [default: the wallet's]."
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="Folder of a demo or a validator, to work without a network; or the miner's own, "
            "for its history and checkpoints.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The checkpoint that was in force, to judge again."),
    ] = None,
    validator: Annotated[
        str | None,
        typer.Option(metavar="SS58", help="Validator whose record to read [default: any]."),
    ] = None,
    records: Records = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to save the window's context and the file in."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Say why a miner's window was refused, or what it earned, and how to check that yourself.

    It reads validators' public records, the miner's file and the miner's own history, and judges
    again: everything with --model, else the parts that need no model. To explain a run of
    `assay demo`, add `--dir assay-demo --hotkey cheap-model --window 8`. Exit codes: 0 accepted, 1
    refused, 2 could not find out.
    """
    from assay.artifacts.records.run_folder import RunFolder
    from assay.neurons.settings.loading import ConfigError

    settings = source.load(problem_files=False)
    if directory is not None and not directory.is_dir():
        raise ConfigError(f"there is no folder {directory}")
    kept = directory is not None and RunFolder(directory).has_contexts
    own = {"model": model, "quiet": quiet, "hotkey": hotkey, "validator": validator}
    place = directory if kept else None
    named = {"validator": "--validator"} | ({} if place else {"hotkey": "--hotkey"})
    first = (
        require_there("model"),
        require_hotkeys(**named),
        *(() if place else (require_subnet,)),
    )
    prepare(settings, own, *first, loads=_TORCH, opens=place or True)
    from assay.cli.explain import run_explain

    asked = (hotkey, window, directory, model, validator, records, out)
    return run_explain(settings, *asked, as_json)


@command(app, "explorer", "explorer.*", *LEDGER, *NETWORK, "store.readable")
def run_explorer(source: SettingsSource, quiet: Quiet = False, as_json: AsJson = False) -> int:
    """Serve web pages of a validator's public record, and of its live state if there is any.

    `assay explorer --dir assay-demo` shows a run of `assay demo`, even while it runs. Without --dir
    it looks in assay-demo, then in assay-localnet. The pages are read only and load nothing from
    elsewhere. Each number has the command that recomputes it. Exit codes: 0 stopped by request, 2
    nothing to show, or no port to serve it on.
    """
    if not quiet:
        announce("opening the explorer")
    from assay.cli.explorer import make_request, run_explorer

    return run_explorer(make_request(source), as_json, quiet)


Model = Annotated[
    list[Path] | None,
    typer.Option(metavar="FOLDER", help="A checkpoint, or a folder of them by digest; may repeat."),
]


@command(audit_app, None, *NETWORK, *READING, *LEDGER, *COMPUTE, "cluster.address")
def run_audit(
    source: SettingsSource,
    validator: Validator = None,
    windows: Windows = None,
    model: Model = None,
    workers: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            max=256,
            help="Run forward passes in this many processes of one thread.",
        ),
    ] = 0,
    worker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEVICE", help="Run forward passes on this device, such as cuda:0; may repeat."
        ),
    ] = None,
    offline: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Read from a bundle, without any network.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="A bundle or store that another reader kept, to compare; may repeat.",
        ),
    ] = None,
    records: Records = None,
    allow_local_beacon: AllowLocalBeacon = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Recompute a validator's record: beacons, audited groups, values, scores, weights.

    It reads public data only: the record, the chain, miners' files. --model also runs the forward
    passes again. Without it, the audit trusts and counts verdicts that only a model can decide.
    --evm and --contract also compare with the ledger contract. Exit codes: 0 everything matches, 1
    something differs, 2 could not run, or nothing differs but something could not be checked.
    """
    from assay.neurons.settings.loading import ConfigError

    if worker and workers:
        raise ConfigError("--worker names devices, --workers a number: use one of the two")
    settings = source.load(problem_files=False)
    own: dict[str, Any] = {"offline": offline, "model": model, "against": against}
    there = require_there(*own)
    own |= {"windows": windows, "validator": validator, "quiet": quiet}
    first = (there, *_SCOPE, require_offline if offline else require_subnet)
    prepare(settings, own, *first, loads=_TORCH, opens=offline or True)
    from assay.cli.audit import AuditRequest, run_offline, run_online

    asked = (validator, windows, records, model or (), against or (), allow_local_beacon)
    devices = tuple(worker or ["cpu"] * workers)
    request = AuditRequest(*asked, settings.compute, devices, settings.cluster.address)
    if offline is not None:
        return run_offline(offline, request, as_json, quiet)
    return run_online(settings, request, as_json, quiet)


@command(audit_app, "export", *NETWORK, *READING, *LEDGER)
def run_export(
    source: SettingsSource,
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="New folder for the bundle.")],
    validator: Validator = None,
    windows: Windows = None,
    records: Records = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Audit without a model, and save everything that was read in a sealed folder.

    `assay audit --offline BUNDLE` needs nothing else. After an interruption, the same command
    continues. The exit codes are those of `assay audit`.
    """
    settings = source.load(problem_files=False)
    own = {"windows": windows, "validator": validator, "quiet": quiet}
    prepare(settings, own, *_SCOPE, require_subnet, loads=_TORCH, opens=True)
    from assay.cli.audit import AuditRequest, run_export

    return run_export(settings, AuditRequest(validator, windows, records), out, as_json, quiet)


@command(audit_app, "compare", *NETWORK, *READING, *COMPUTE)
def run_compare(
    source: SettingsSource,
    validator: Annotated[
        list[str] | None,
        typer.Option(
            "--validator",
            metavar="SS58",
            help="Validator to compare; may repeat [default: all that announce a record or set "
            "weights].",
        ),
    ] = None,
    windows: Windows = None,
    model: Model = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Compare the validators of a subnet, and say which of them copies.

    For each validator it shows how many verdicts have a witness of its own forward pass (with
    --model), and how far its weights on chain are from its own record, from others' records, and
    from others' earlier settlements. Exit codes: 0 no sign of a copier, 1 a copier, 2 could not
    run.
    """
    settings = source.load(problem_files=False)
    own = {"model": model, "windows": windows, "quiet": quiet}
    first = (require_there("model"), require_windows, require_subnet)
    prepare(settings, own, *first, loads=_TORCH, opens=True)
    from assay.cli.audit import AuditRequest
    from assay.cli.audit_compare import run_compare

    request = AuditRequest(windows=windows, models=model or (), compute=settings.compute)
    return run_compare(settings, request, validator or (), as_json)


@command(audit_app, "round", *NETWORK, *READING)
def run_audit_round(
    source: SettingsSource,
    checkpoint: Annotated[
        str | None,
        typer.Argument(metavar="DIGEST", help="A merged checkpoint [default: the one in force]."),
    ] = None,
    steps: Annotated[
        int, typer.Option(metavar="N", min=0, help="Steps of each child to repeat.")
    ] = 1,
    store: StepStores = None,
    directory: StepFetched = Path("assay-rounds"),
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Check each round as it ends, until Ctrl-C, and add the findings to "
            "findings.jsonl in the folder.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Recompute a round of several trainers: the merged children, and why others were left out.

    It also repeats some steps of each child, drawn by the deadline's block, if their trainers
    publish the states. Run it with --follow beside each trainer. Exit codes: 0 the checkpoint and
    every repeated step are equal, 1 something differs (it names the trainer that lied), 2 could
    not run, or could not repeat some step.
    """
    settings = source.load(problem_files=False)
    prepare(settings, {"quiet": quiet}, require_subnet, loads=_TORCH, opens=True)
    from assay.cli.audit_round import run_round

    return run_round(settings, checkpoint, steps, store or (), directory, follow, as_json, quiet)


def _name_step(record: str | None, stores: list[str] | None, quiet: bool) -> dict[str, Any]:
    """A step in the form for `prepare`: a record in a store is not here yet."""
    return {"record": None if stores or record is None else Path(record), "quiet": quiet}


@command(train_app, "verify-step", *NETWORK, *READING)
def run_verify_step(
    source: SettingsSource,
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
    validator: Validator = None,
    records: Records = None,
    allow_local_beacon: AllowLocalBeacon = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Repeat a training step from the data beside its record, and compare bit by bit.

    With --offline, --netuid or --localnet it also compares the groups with what miners committed on
    chain. Exit codes: 0 equal, 1 different (it names the first tensor or group that differs), 2
    could not run, or equal but some groups could not be checked. On another kind of CPU or with
    another PyTorch the last bits can differ; the command says how this machine differs.
    """
    from assay.neurons.settings.loading import ConfigError

    named = (*source.flags["chain"].values(), source.localnet, offline)
    beside = any(value is not None for value in named)
    if not beside and (files or validator or records):
        raise ConfigError("name a bundle with --offline, or a network with --netuid")
    settings = source.load(problem_files=False)
    own = _name_step(record, store, quiet) | {"models": models, "offline": offline}
    prepare(settings, own, require_there("record", "models"), require_offline, loads=_TORCH)
    from assay.cli.audit import AuditRequest
    from assay.cli.train_steps import ProvenanceRequest, verify_step

    place = offline or (settings if beside else None)
    request = AuditRequest(validator, None, records, allow_local_beacon=allow_local_beacon)
    provenance = None if place is None else ProvenanceRequest(place, request, files or ())
    return verify_step(record, models, store or (), directory, provenance, as_json, quiet)


@command(train_app, "trace-step")
def run_trace_step(
    source: SettingsSource,
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
    settings, own = source.load(problem_files=False), _name_step(record, store, quiet)
    prepare(settings, own, require_there("record"), loads=_TORCH, problem_files=False)
    from assay.cli.step_traces import StepPlace, run_trace

    place = StepPlace(record, models, tuple(store or ()), directory)
    return run_trace(place, out, as_json, quiet)


@command(train_app, "bisect")
def run_bisect_traces(
    source: SettingsSource,
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
    settings = source.load(problem_files=False)
    own = _name_step(step, store, quiet) | {"a": a, "b": b}
    prepare(settings, own, require_there("record", "a", "b"), loads=_TORCH, problem_files=False)
    from assay.cli.step_traces import StepPlace, run_bisect

    place = None if step is None else StepPlace(step, models, tuple(store or ()), directory)
    return run_bisect(a, b, place, as_json, quiet)


@command(
    app,
    "export",
    "trainer.dir",
    runs="export",
    first=(require_export, require_there("files")),
    loads=_TORCH,
)
def run_export_steps(
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="New or empty folder for the data set.")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Send the groups to this server (Atropos API)."),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILES", help="Miners' files (*.rollouts) to export instead of steps."
        ),
    ] = None,
    windows: Annotated[
        str | None, typer.Option(metavar="A..B", help="Only these windows, both ends included.")
    ] = None,
    columns: Annotated[
        Literal["assay", "trl", "prime-rl", "verl"],
        typer.Option(help="Columns as this trainer reads them."),
    ] = "assay",
    wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=86_400,
            help="Longest wait for the server and its trainer.",
        ),
    ] = 600,
    resend: Annotated[
        bool,
        typer.Option(
            "--resend", help="Send groups of unknown outcome again; they may arrive twice."
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Export all rollouts that a trainer learned from, as a data set or to another trainer.

    With --out it writes Parquet files and a data card for `datasets.load_dataset(DIR)`: texts,
    reward parts, advantages, each rollout's source, and the root on chain that proves it. It checks
    each step's data against the step's record. --dir may be a demo's folder. With FILES it exports
    these files, as `assay convert` does. With --push it sends miners' groups to a server of
    `atroposlib`, each once, even across kills and restarts. Exit codes of --push: 0 every group was
    delivered, 1 nobody knows whether some group arrived, 2 the server is away or refuses a group.
    """


app.add_typer(audit_app, name="audit")
app.add_typer(train_app, name="train")
