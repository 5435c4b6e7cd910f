"""The command line's root: the commands, in the order of `assay --help`.

Exit codes: 0 as promised or accepted; 1 a finding; 2 could not run; 130 stopped by Ctrl-C.
"""

from typing import Annotated

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
    mcp,
    members,
    mine,
    plan,
    publish_hub,
    recipe,
    sandbox,
    status,
    submission,
    subnet,
    tools,
    train,
    validate,
    wallet,
    weights,
)
from assay.cli.help_pages import PagedGroup

#: What one wants → the commands for it, in the order of `assay --help`.
GROUPS = {
    "Try": ("demo", "localnet", "faucet", "status", "explorer", "doctor", "gauntlet"),
    "Mine": ("wallet", "register", "mine", "explain"),
    "Validate": ("stake", "validate", "weights", "metagraph", "calibrate"),
    "Own a subnet": ("adopt", "recipe", "plan", "subnet", "ledger"),
    "Train": ("train", "eval", "contest"),
    "Audit": ("audit", "verify"),
    "Data": ("env", "export", "publish-hub", "convert", "sandbox"),
    "Agents": ("mcp", "tools"),
}


class _Root(PagedGroup):
    """The list of all commands."""

    groups = GROUPS


app = typer.Typer(
    cls=_Root,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Assay: miners are paid for reasoning rollouts that anyone can check.\n\n"
    "Flags override ASSAY_* variables, and both override --config.",
    epilog="assay demo",
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"assay {version('assay')}")
        raise typer.Exit


@app.callback()
def _take_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version, and exit."
        ),
    ] = False,
) -> None: ...


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
app.add_typer(recipe.app, name="recipe")
app.add_typer(sandbox.app, name="sandbox")
app.add_typer(mcp.app)
app.add_typer(tools.app)
