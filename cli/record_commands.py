"""The commands of those who look: at records, windows, steps and what they come to."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from assay.cli.chain_commands import train_app
from assay.cli.options import (
    COMPUTE,
    LEDGER,
    NETWORK,
    READING,
    AsJson,
    Quiet,
    SettingsSource,
    command,
    print_opening,
)

app = typer.Typer()
audit_app = typer.Typer()

Validator = Annotated[
    str | None,
    typer.Option(
        "--validator", metavar="SS58", help="Whose record [default: the only one announced]."
    ),
]
Windows = Annotated[
    str | None,
    typer.Option(
        "--windows", metavar="A..B", help="Which windows [default: the newest settlement's]."
    ),
]
Records = Annotated[
    str | None,
    typer.Option(
        "--records",
        metavar="URL",
        help="Where the record lies, a store or a folder [default: as announced on chain].",
    ),
]
AllowLocalBeacon = Annotated[
    bool,
    typer.Option(
        "--allow-local-beacon", help="Accept a bundle's beacon chain other than quicknet."
    ),
]
_STEP = "A step record, steps/step-*.json; with --store, a checkpoint's digest."
StepRecordFile = Annotated[str, typer.Argument(metavar="RECORD", help=_STEP)]
StepModels = Annotated[
    Path | None,
    typer.Option(
        "--models",
        metavar="DIR",
        help="Folder of checkpoints, by digest [default: models, beside the record's folder].",
    ),
]
StepStores = Annotated[
    list[str] | None,
    typer.Option(
        "--store", metavar="URL", help="Fetch a checkpoint's step from this store; repeatable."
    ),
]
StepFetched = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Folder for what is fetched.")
]


@command(app, "explain", *NETWORK, "wallet.name", "wallet.path", *READING, *COMPUTE)
def run_explain(
    source: SettingsSource,
    window: Annotated[int, typer.Option(metavar="W", min=0, help="The window.")],
    hotkey: Annotated[
        str | None,
        typer.Option(
            metavar="SS58",
            help="Whose window; in a demo's folder a miner's name serves [default: the wallet's].",
        ),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            metavar="DIR",
            help="What a demo or a validator has left: no network is asked. Or the miner's own "
            "folder, for its history and checkpoints.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The checkpoint that was in force: judges again."),
    ] = None,
    validator: Annotated[
        str | None, typer.Option(metavar="SS58", help="Whose record to read [default: any].")
    ] = None,
    records: Records = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Leave the window's context and the file here."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Say why a miner's window was refused, or what it earned, and how to see it for oneself.

    Reads validators' public records, the miner's file and its own history, and judges again what is
    at hand: with a model, everything. `--dir assay-demo --hotkey cheap-model --window 8` explains
    what `assay demo` has left. Exit 0 accepted, 1 refused, 2 could not find out.
    """
    from assay.artifacts.records.run_folder import RunFolder
    from assay.neurons.settings.loading import ConfigError

    settings = source.load()
    if directory is not None and not directory.is_dir():
        raise ConfigError(f"there is no folder {directory}")
    has_all = directory is not None and RunFolder(directory).has_contexts
    print_opening(directory if directory and has_all else settings, quiet)
    from assay.cli.explain import run_explain

    asked = (hotkey, window, directory, model, validator, records, out)
    return run_explain(settings, *asked, as_json)


@command(app, "explorer", "explorer.*", *LEDGER, *NETWORK, "store.readable")
def run_explorer(source: SettingsSource, quiet: Quiet = False, as_json: AsJson = False) -> int:
    """Serve a web page over a validator's public record, and its live state where it is at hand.

    `assay explorer --dir assay-demo` shows what `assay demo` has left, also while it runs; without
    --dir it looks in assay-demo, then in assay-localnet. The page is read only, loads nothing from
    elsewhere, and names for every number the command that derives it again. Exit 0 stopped by
    request; 2 there is nothing to show, or nowhere to.
    """
    from assay.cli.explorer import make_request, run_explorer

    return run_explorer(make_request(source), as_json, quiet)


Model = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER",
        help="A checkpoint, or a folder of them by digest; may repeat: run them again.",
    ),
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
            help="So many processes of one thread run them, instead of this one.",
        ),
    ] = 0,
    worker: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEVICE",
            help="A worker on each, such as cuda:0, instead of --workers; may repeat.",
        ),
    ] = None,
    offline: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Work from a bundle, without any network.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="A bundle or store that another reader has kept; may repeat."
        ),
    ] = None,
    records: Records = None,
    allow_local_beacon: AllowLocalBeacon = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Derive a validator's record again: beacons, choice of groups, values, scores, weights.

    Reads public data alone: the record, the chain, miners' files. --model also runs the forward
    passes again; without it, what only a model decides is taken at the validator's word and
    counted. --evm and --contract compare with the ledger on the EVM, too. Exit 0 all matched;
    1 something differs; 2 it could not run, or nothing differs and something could not be looked
    at.
    """
    settings = source.load()
    print_opening(offline or settings, quiet)
    from assay.cli.audit import AuditRequest, run_offline, run_online
    from assay.neurons.settings.loading import ConfigError

    asked = (validator, windows, records, model or (), against or (), allow_local_beacon)
    if worker and workers:
        raise ConfigError("--worker names each of them, --workers how many: name one of the two")
    devices = tuple(worker or ["cpu"] * workers)
    request = AuditRequest(*asked, settings.compute, devices, settings.cluster.address)
    if offline is not None:
        return run_offline(offline, request, as_json, quiet)
    return run_online(settings, request, as_json, quiet)


@command(audit_app, "export", *NETWORK, *READING, *LEDGER)
def run_export(
    source: SettingsSource,
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="Folder to leave it in: a new one.")],
    validator: Validator = None,
    windows: Windows = None,
    records: Records = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Audit without a model, and leave all that was read in a sealed folder.

    `assay audit --offline BUNDLE` needs nothing else. Cut off, the same command goes on where it
    was. Exit codes are those of `assay audit`.
    """
    settings = source.load()
    print_opening(settings, quiet)
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
            help="Which validators; may repeat [default: all that announce a record or set "
            "weights].",
        ),
    ] = None,
    windows: Windows = None,
    model: Model = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Hold validators of one subnet beside each other, and say which of them copies.

    Shows for each how many of its verdicts carry a witness of its own forward pass (with --model),
    and how far its weights on chain are from its own record, from others', and from others'
    earlier settlements. Exit 0 nothing says that any copies; 1 one does; 2 it could not run.
    """
    settings = source.load()
    print_opening(settings, quiet)
    from assay.cli.audit import AuditRequest
    from assay.cli.audit_compare import run_compare

    request = AuditRequest(windows=windows, models=model or (), compute=settings.compute)
    return run_compare(settings, request, validator or (), as_json)


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
            metavar="BUNDLE", help="Hold the groups against a bundle of `assay audit export`."
        ),
    ] = None,
    files: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="Miners' files are also looked for in this store; repeatable."
        ),
    ] = None,
    validator: Validator = None,
    records: Records = None,
    allow_local_beacon: AllowLocalBeacon = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Do a training step again, from the data beside its record, and compare bit by bit.

    With --offline, --netuid or --localnet its groups are also held against what miners had
    committed to on chain. Exit 0 equal, 1 different (the first tensor or group that differs is
    named), 2 could not run, or equal and not all of the groups could be looked at. Another kind of
    processor or another torch may differ in last bits; what differs here is said.
    """
    settings = source.load()  # the network's files of problems, too; a mistyped variable is named
    from assay.cli.audit import AuditRequest
    from assay.cli.train_steps import ProvenanceRequest, verify_step
    from assay.neurons.settings.loading import ConfigError

    named = (*source.flags["chain"].values(), source.localnet)
    place = offline or (None if named == (None, None, None) else settings)
    request = AuditRequest(validator, None, records, allow_local_beacon=allow_local_beacon)
    provenance = None if place is None else ProvenanceRequest(place, request, files or ())
    if provenance is None and (files or validator or records):
        raise ConfigError("name a bundle with --offline, or a network with --netuid")
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
    """Do a training step again and write what every operator read and made, as a tree of hashes.

    Two such traces of one step show where two machines part: `assay train bisect`. The folder may
    be a store as it is. Exit 0 it makes what the record says, 1 other tensors, 2 could not run.
    """
    source.load(problem_files=False)  # a mistyped variable is named
    from assay.cli.step_traces import StepPlace, run_trace

    place = StepPlace(record, models, tuple(store or ()), directory)
    return run_trace(place, out, as_json, quiet)


@command(train_app, "bisect")
def run_bisect_traces(
    source: SettingsSource,
    a: Annotated[str, typer.Argument(metavar="A", help="A trace: its folder, or a store's URL.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another trace of the same step.")],
    step: Annotated[
        str | None, typer.Option(metavar="RECORD", help=f"Do the operator again here. {_STEP}")
    ] = None,
    models: StepModels = None,
    store: StepStores = None,
    directory: StepFetched = Path("assay-steps"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Find the first operator of which two traces of a step say different things, and who is right.

    Reads two nodes a level of each trace. With --step that operator is run again here, on the
    inputs that both name, also as other machines would. Exit 0 they are equal, or the machines
    differ and neither lies; 1 one is wrong, or contradicts itself; 2 could not run, or not said.
    """
    source.load(problem_files=False)  # a mistyped variable is named
    from assay.cli.step_traces import StepPlace, run_bisect

    place = None if step is None else StepPlace(step, models, tuple(store or ()), directory)
    return run_bisect(a, b, place, as_json, quiet)


@command(app, "export", "trainer.dir", runs="export")
def run_export_steps(
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to write the data set to; new or empty."),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Hand the groups to this server of Atropos' wire."),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILES", help="Miners' files instead of steps, *.rollouts."),
    ] = None,
    windows: Annotated[
        str | None, typer.Option(metavar="A..B", help="These windows only, both ends included.")
    ] = None,
    columns: Annotated[
        Literal["assay", "trl", "prime-rl", "verl"],
        typer.Option(help="Name and shape the columns as this trainer's reader has them."),
    ] = "assay",
    wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            max=86_400,
            help="Wait so long for the server and its trainer.",
        ),
    ] = 600,
    resend: Annotated[
        bool,
        typer.Option(
            "--resend", help="Send again what may be there or not; it may be there twice then."
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write all rollouts that were learned from as a data set, or hand them to another trainer.

    With --out it is Parquet files and a data card; `datasets.load_dataset(DIR)` reads it. Texts,
    reward parts, advantages, where each rollout comes from, and the root on chain that proves it;
    each step's data is checked against its record. A demo's folder serves as --dir, too. With FILES
    it is what these hold, as `assay convert` has it. With --push miners' groups go to a server of
    `atroposlib`, each once, however often this is killed and started again. Exit 1: the last run
    left a group of which nobody knows whether it is there.
    """


app.add_typer(audit_app, name="audit")
app.add_typer(train_app, name="train")
