"""`assay audit` and what is below it."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import (
    require_address,
    require_bundle,
    require_subnet,
    require_there,
    require_windows,
)
from assay.cli.command import Invocation, command
from assay.cli.exits import COULD_NOT_RUN, FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_models
from assay.cli.options import (
    AllowLocalBeacon,
    AsJson,
    Quiet,
    Records,
    StepFetched,
    StepStores,
    Validator,
    ledger,
    network,
    reading,
)
from assay.cli.saying import choose_say, say_plainly
from assay.cli.start import TORCH, starting

app = typer.Typer(cls=PagedGroup)


Windows = Annotated[
    str | None,
    typer.Option(
        "--windows",
        metavar="A..B",
        help="Windows, both ends included [default: the newest settlement's].",
    ),
]
Model = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER",
        help="A checkpoint (a folder, or ORG/NAME on the Hub), or a folder of them by digest; "
        "may repeat.",
    ),
]


@command(
    app,
    None,
    "assay audit --netuid 3 --windows 8..12",
    lambda s: (*network(s), *reading(s), *ledger(s), s.compute, s.cluster.address),
)
def audit(
    invocation: Invocation,
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
        Path | None,
        typer.Option(
            metavar="BUNDLE", help="Read from a bundle, its folder or file, without any network."
        ),
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
    from assay.settings.loading import ConfigError

    if worker and workers:
        raise ConfigError("--worker names devices, --workers a number: use one of the two")
    settings = invocation.load_settings()
    model = open_models(settings, model or (), quiet)
    require_there(offline, *model, *(against or ()))
    require_windows(windows)
    require_address(validator, "--validator")
    if offline is None:
        require_subnet(settings)
    else:
        require_bundle(offline)
    with starting(settings, loads=TORCH, opens=offline or True, quiet=quiet):
        from assay.audit.acts import audit_record
        from assay.audit.opening import AuditRequest
        from assay.cli.audit_view import show_progress, show_report
    request = AuditRequest(
        validator,
        windows,
        records,
        offline,
        model,
        against or (),
        allow_local_beacon,
        settings.compute,
        tuple(worker or ["cpu"] * workers),
        settings.cluster.address,
    )
    with show_progress(quiet or as_json) as progress:
        report = audit_record(settings, request, progress)
    return show_report(report, as_json)


@command(
    app,
    "export",
    "assay audit export --netuid 3 --out bundle",
    lambda s: (*network(s), *reading(s), *ledger(s)),
)
def export(
    invocation: Invocation,
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="New folder for the bundle.")],
    validator: Validator = None,
    windows: Windows = None,
    records: Records = None,
    tar: Annotated[
        bool,
        typer.Option("--tar", help="Also write it as one file beside the folder, run-SHA256.tar."),
    ] = False,
    offline: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Cut the windows out of another bundle.")
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Also keep this checkpoint, which an audit with a model needs."
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Audit without a model, and save everything that was read in a sealed folder.

    `assay audit --offline BUNDLE` needs nothing else, and --model only the checkpoints that this
    command names: others are made from their adapters. After an interruption, the same command
    continues. With --tar, BUNDLE may be complete already. The exit codes are those of `assay
    audit`.
    """
    from assay.judge.seal import SUMS_FILE

    settings = invocation.load_settings()
    require_windows(windows)
    require_address(validator, "--validator")
    require_there(base)
    require_bundle(offline)
    is_packed = tar and (out / SUMS_FILE).is_file()
    if offline is None and not is_packed:
        require_subnet(settings)
    opens = out if is_packed else offline or True
    with starting(settings, loads=TORCH, opens=opens, quiet=quiet):
        from assay.audit.acts import ExportRequest, export_record
        from assay.audit.opening import AuditRequest
        from assay.cli.audit_view import show_exported, show_progress
    record = AuditRequest(validator, windows, records, offline)
    with show_progress(quiet or as_json) as progress:
        bundle = export_record(settings, ExportRequest(record, out, base, tar), progress)
    return show_exported(bundle, as_json)


@command(
    app,
    "compare",
    "assay audit compare --netuid 3",
    lambda s: (*network(s), *reading(s), s.compute),
)
def compare(
    invocation: Invocation,
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
    settings = invocation.load_settings()
    model = open_models(settings, model or (), quiet)
    require_there(*model)
    require_windows(windows)
    require_subnet(settings)
    with starting(settings, loads=TORCH, opens=True, quiet=quiet):
        from assay.audit.acts import compare_validators
        from assay.audit.opening import AuditRequest
        from assay.cli.compare_view import show_comparison
    request = AuditRequest(windows=windows, models=model, compute=settings.compute)
    comparison = compare_validators(settings, request, validator or ())
    show_comparison(comparison, as_json)
    return FINDING if comparison.has_copier else OK


@command(app, "round", "assay audit round --netuid 3", lambda s: (*network(s), *reading(s)))
def round_(
    invocation: Invocation,
    checkpoint: Annotated[
        str | None,
        typer.Argument(metavar="DIGEST", help="A merged checkpoint [default: the one in force]."),
    ] = None,
    steps: Annotated[
        int, typer.Option(metavar="N", min=0, help="Steps of each worker update to repeat.")
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
    """Recompute a round of trainers: merged worker updates, and why others were left out.

    It also repeats some steps of each worker update, drawn by the deadline's block, if their
    trainers publish the states, and measures its eval accuracy again. Run it with --follow beside
    each trainer. Exit codes: 0 the checkpoint and everything repeated are equal, 1 something
    differs (it names the trainer that lied), 2 could not run, or could not repeat something.
    """
    settings = invocation.load_settings()
    require_subnet(settings)
    with starting(settings, loads=TORCH, opens=True, quiet=quiet):
        from assay.audit.provenance.network_rounds import (
            RoundRequest,
            audit_network_round,
            follow_network_rounds,
        )
        from assay.cli.audit_view import show_round
        from assay.settings.loading import ConfigError
    request = RoundRequest(checkpoint, steps, store or (), directory)
    say = choose_say(quiet, say_plainly)
    if follow:
        if checkpoint is not None:
            raise ConfigError("--follow checks rounds as they end: name no checkpoint")
        for audit in follow_network_rounds(settings, request, say_plainly, say):
            show_round(audit, as_json, quiet, indent=None)
    result = audit_network_round(settings, request, say)
    show_round(result, as_json, quiet, indent=1)
    if result.fault is not None or result.named:
        return FINDING
    return OK if all(check.equal for check in result.repeated) else COULD_NOT_RUN
