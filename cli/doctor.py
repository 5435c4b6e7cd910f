"""`assay doctor`: opens what a program would open, and says what is wrong with each."""

from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.text import Text

from assay.artifacts.checkpoints.checkpoint_folder import CheckpointFolder, DownloadSettings
from assay.artifacts.discovery import make_mirrors
from assay.cli.console import make_table, print_result
from assay.cli.preflight.checks import CheckState, PreflightCheck
from assay.cli.preflight.dry_run import DryRun, Earning
from assay.cli.preflight.examination import PreflightInputs, examine
from assay.inference import Placement
from assay.network import ObjectStore, ReadableStores
from assay.neurons.session.neuron_session import open_pool
from assay.neurons.session.resources import now_ms, open_own_store, require_netuid
from assay.neurons.session.session import Session, open_session
from assay.neurons.settings.placing import open_placement
from assay.neurons.settings.sections import ComputeSettings, Settings
from assay.neurons.trainer.trainer_setup import make_learning
from assay.protocol.errors import OperatorError

T = TypeVar("T")


def run_doctor(settings: Settings, role: str, as_json: bool) -> int:
    """Looks at everything that the program of a role needs; 1 if something is to be mended."""
    require_netuid(settings.chain)
    with open_session(settings) as session:
        opening = OpenAttempt()
        around = _open_surroundings(session, role, opening)
        checks = examine(around, now_ms(), opening.failures)
    print_result([check.to_json() for check in checks], as_json, render_checks(checks))
    return 1 if any(check.state is CheckState.FAIL for check in checks) else 0


class OpenAttempt:
    """Opens one thing after the other; what cannot be opened is a failure, and None."""

    def __init__(self) -> None:
        self.failures: list[PreflightCheck] = []

    def open(self, name: str, remedy: str, make: Callable[[], T], *needs: object) -> T | None:
        """What `make` opens; None where it fails, or where something that it needs is None."""
        if any(need is None for need in needs):
            return None
        try:
            return make()
        except (OperatorError, OSError) as error:
            self.failures.append(PreflightCheck(name, CheckState.FAIL, str(error), remedy))
            return None


def _open_surroundings(session: Session, role: str, opening: OpenAttempt) -> PreflightInputs:
    settings = session.settings
    folder: Path = getattr(settings, role).dir
    account = opening.open(
        "wallet", "`assay wallet create`, or name another", lambda: session.account
    )
    chain = opening.open("chain", "see to the node, or name another", lambda: session.chain)
    if chain is not None and account is not None:
        chain.add_wallet(account.wallet)
    own, stores = open_role_stores(session, role, opening)
    remedy = "mind what it says of the store, else ask the subnet's owner"
    rules = opening.open("rules", remedy, lambda: session.parameters, chain, stores)
    remedy = "name relays with --beacon"
    beacons = opening.open("relays", remedy, lambda: session.beacons, rules)
    remedy = "name one that is here, with --device"
    devices = settings.validator.devices if role == "validator" else ()
    here = () if settings.cluster.address else devices  # a cluster's are on other machines
    placement = opening.open("device", remedy, lambda: _open_placement(settings.compute, here))
    checkpoints = None
    if chain is not None and stores is not None and rules is not None:
        remedy = "name stores that can be opened under [store] mirrors"
        mirrors = opening.open("mirrors", remedy, lambda: session.own_mirrors)
        fetching = DownloadSettings(make_mirrors(chain, rules, stores.open, mirrors or ()))
        checkpoints = CheckpointFolder(folder / "models", fetching, placement=placement)
    learning = None
    if role == "trainer":
        learning = opening.open(
            "training", "change it under [trainer]", lambda: make_learning(settings.trainer)
        )
    return PreflightInputs(
        role=role,
        folder=folder,
        groups_per_step=settings.miner.groups_per_step,
        learning=learning,
        hotkey=None if account is None else account.hotkey,
        coldkey=None if account is None else account.coldkey,
        chain=chain,
        parameters=rules,
        followed=None if rules is None else session.followed,
        beacons=beacons,
        relays=None if beacons is None else beacons.check,
        store=None if own is None else own[0],
        shown=None if own is None or stores is None else stores.get(own[1]),
        public=lambda: None if own is None or stores is None else stores.get_as_stranger(own[1]),
        checkpoints=checkpoints,
        placement=placement,
        open_pool=(lambda: open_pool(settings)) if devices else None,
    )


def _open_placement(compute: ComputeSettings, workers: Sequence[str]) -> Placement:
    """Where the program's models run; of workers, the first one's, with as many threads. Raises
    DeviceError: one of them is not there."""
    if not workers:
        return open_placement(compute)
    threads = compute.threads or 1
    found = [
        open_placement(compute.model_copy(update={"device": device, "threads": threads}))
        for device in workers
    ]
    return found[0]


def open_role_stores(
    session: Session, role: str, opening: OpenAttempt
) -> tuple[tuple[ObjectStore, str] | None, ReadableStores | None]:
    """The store written to with its locator, of who has one, and those that may be read: all but
    one's own where that cannot be opened, so that it does not hide what others serve."""
    remedy = "mend what it says, or name another with --store or --readable"
    settings, own = session.settings, None
    if role != "validator" or settings.store.locator is not None:
        own = opening.open("store", remedy, lambda: open_own_store(settings))
        if own is None:
            others = settings.store.model_copy(update={"locator": None})
            session.settings = settings.model_copy(update={"store": others})
    return own, opening.open("store", remedy, lambda: session.stores)


_FINDING = attrgetter("state", "detail", "remedy")
_MARKS = {
    CheckState.OK: ("✓", "green"),
    CheckState.WARN: ("!", "yellow"),
    CheckState.FAIL: ("✗", "red"),
}


def render_checks(checks: Sequence[PreflightCheck]) -> RenderableType:
    """A line a check, what to do below its finding; what several have in common is said once."""
    table = make_table("mark", "check", "words", show_header=False)
    for (state, detail, remedy), alike in groupby(checks, _FINDING):
        mark, style = _MARKS[state]
        words = Text(detail)
        if remedy:
            words.append(f"\n→ {remedy}", style=style)
        names = "\n".join(check.check for check in alike)
        table.add_row(Text(mark, style=style), Text(names), words)
    return table


def render_dry_run(run: DryRun) -> RenderableType:
    """Checks, then the rough earning with what it was computed from."""
    parts = [render_checks(run.checks)]
    if run.earning is not None:
        parts.append(_describe_earning(run.earning))
    words = "nothing stands in the way" if run.ready else "not ready: see the lines marked ✗"
    parts.append(Text(words, style="bold green" if run.ready else "bold red"))
    return Group(*parts)


def _describe_earning(earning: Earning) -> Text:
    text = Text("roughly, if all stays as it was and every group is accepted:\n", style="bold")
    text.append(
        f"  {earning.own_groups:,} groups a window beside {earning.other_groups:,} of others "
        f"(window {earning.window}): {earning.share:.2%} of what miners get\n"
        f"  miners got {earning.paid / 1e9:,.4f} alpha in the last epoch, "
        f"{earning.epochs_a_day:.1f} epochs a day: {earning.alpha_a_day / 1e9:,.4f} alpha a day\n"
        f"  at {earning.alpha_price / 1e9:,.6f} TAO an alpha: "
        f"{earning.alpha_a_day * earning.alpha_price / 1e18:,.4f} TAO a day\n"
    )
    if earning.registration is not None:
        days = earning.registration_days
        after = "never at that" if days is None else f"earned back in {days:,.1f} days"
        text.append(f"  a uid costs {earning.registration / 1e9:,.4f} TAO: {after}\n")
    return text
