"""The command line's root: the commands, in the order of `assay --help`.

Exit codes: 0 as promised or accepted; 1 a finding; 2 could not run; 130 stopped by Ctrl-C.
"""

import typer

from assay.cli.commands import (
    adopt,
    audit,
    calibrate,
    contest,
    demo,
    doctor,
    env,
    eval,
    explain,
    explorer,
    export,
    gauntlet,
    ledger,
    localnet,
    members,
    mine,
    plan,
    publish_hub,
    sandbox,
    status,
    submission,
    subnet,
    train,
    validate,
    wallet,
    weights,
)
from assay.cli.help_pages import PagedGroup

app = typer.Typer(
    cls=PagedGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Assay: miners are paid for reasoning rollouts that anyone can check.",
    epilog="Start with `assay demo`. Flags override ASSAY_* variables, and both override --config.",
    pretty_exceptions_enable=False,
)
app.add_typer(demo.app)
app.add_typer(submission.app)
app.add_typer(adopt.app)
app.add_typer(calibrate.app)
app.add_typer(contest.app)
app.add_typer(eval.app)
app.add_typer(plan.app)
app.add_typer(gauntlet.app)
app.add_typer(status.app)
app.add_typer(localnet.app)
app.add_typer(doctor.app)
app.add_typer(mine.app)
app.add_typer(validate.app)
app.add_typer(members.app)
app.add_typer(wallet.app, name="wallet")
app.add_typer(weights.app, name="weights")
app.add_typer(subnet.app, name="subnet")
app.add_typer(ledger.app, name="ledger")
app.add_typer(explain.app)
app.add_typer(explorer.app)
app.add_typer(export.app)
app.add_typer(publish_hub.app)
app.add_typer(audit.app, name="audit")
app.add_typer(train.app, name="train")
app.add_typer(env.app, name="env")
app.add_typer(sandbox.app, name="sandbox")
