"""A miner that cheats, as a program: one strategy of the gauntlet, against your own network.

    .venv/bin/python bench/cheat.py "int4 weights" --localnet assay-localnet --wallet crook

Like `assay mine`, it needs a wallet with a uid and shows the outcome of each window. Do not run it
on a network of other people: it earns nothing and costs them a verdict.
"""

from typing import Annotated

import typer

from assay.cli.command import Invocation, command
from assay.cli.start import add_problem_files
from assay.lab.gauntlet.content_attacks import CopiedFromAnother, ReplayedFromAnotherWindow
from assay.lab.gauntlet.strategy import Strategy
from assay.lab.gauntlet.table import CHOOSING, NOT_WORKING
from assay.neurons.miner.program import run_miner
from assay.settings.loading import ConfigError

#: Strategies for which a program has everything: no other model, no other miner's file, no
#: calendar.
ALONE = {
    kind.title: kind
    for kind in CHOOSING + NOT_WORKING
    if kind.role is None
    and kind.act is Strategy.act
    and kind not in (CopiedFromAnother, ReplayedFromAnotherWindow)
}


def find_strategy(part: str) -> type[Strategy]:
    """The one strategy with these words in its name.

    Raises:
        ConfigError: no strategy has these words, or several have them.
    """
    found = [title for title in ALONE if part.lower() in title.lower()]
    if part in ALONE:
        return ALONE[part]
    if len(found) != 1:
        raise ConfigError(f"which strategy? {', '.join(found or ALONE)}")
    return ALONE[found[0]]


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@command(
    app,
    "cheat",
    'cheat.py "int4 weights" --localnet assay-localnet --wallet crook',
    lambda s: (s.wallet.name, s.wallet.hotkey, s.miner.dir, s.miner.groups, s.compute.threads),
)
def run_cheat(
    invocation: Invocation,
    strategy: Annotated[str, typer.Argument(help="Its name in `assay gauntlet`, or enough of it.")],
) -> int:
    """Mine by a strategy of the gauntlet until Ctrl-C."""
    kind = find_strategy(strategy)
    settings = invocation.load_settings()
    add_problem_files(settings)
    run_miner(settings, kind=kind)
    return 0


if __name__ == "__main__":
    app()
