"""`assay subnet amend`: new parameters for a running network."""

from pathlib import Path
from tempfile import TemporaryDirectory

from assay.artifacts.announced_parameters import AnnouncedParameters
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.discovery import DiscoveryError, publish_parameters
from assay.artifacts.published_problems import publish_problem_files
from assay.cli.console import Confirm, print_result, require_consent
from assay.network.chain.ports import Chain
from assay.neurons.program.logs import log_lines, make_report, wants_json
from assay.session.parameter_follower import ParameterFollower
from assay.session.resources import open_account, open_chain, open_own_store, open_stores
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings
from assay.subnet.amending import amend, amend_frames, name_checkpoint, require_amendment
from assay.subnet.presets import read_changes
from assay.subnet.publishing import announce


def run_subnet_amend(
    settings: Settings, withdraw: bool, confirm: Confirm, as_json: bool, quiet: bool
) -> None:
    """Announce parameters that follow those in force, or withdraw an undecided announcement."""
    amending = settings.amend
    store, locator = open_own_store(settings)
    account = open_account(settings)
    changes = {} if amending.changes is None else read_changes(amending.changes)
    with (
        log_lines(wants_json(settings, as_json), quiet),
        open_chain(settings.chain) as chain,
        TemporaryDirectory(prefix="assay-") as folder,
    ):
        chain.add_wallet(account.wallet)
        if chain.get_owner(chain.get_head()) != account.hotkey:
            raise ConfigError(f"the wallet's hotkey does not own subnet {chain.netuid}")
        followed = ParameterFollower(chain, open_stores(settings.store).open, Path(folder))
        latest = followed.history.latest
        if followed.history.end is not None:  # any other announcement would be void now
            raise DiscoveryError(f"{followed.note}; put that file back into the store first")
        if withdraw:
            _withdraw(chain, account.hotkey, locator, followed, confirm, as_json)
            return
        report = make_report("amendment_note")
        amended = amend(chain, latest, changes, amending.window)
        amended = amend_frames(latest, amended, amending.checkpoint, report)
        amended = name_checkpoint(chain, latest, amended, amending.checkpoint, amending.out)
        calibrated = amending.out if amending.checkpoint is not None else None
        for note in require_amendment(latest, amended, calibrated):
            report(note)
        announced = AnnouncedParameters(amended, latest, is_decided=False)
        instead = "" if followed.pending is None else " in place of the announced ones"
        question = f"Announce{instead} parameters {announced.describe()}?"
        require_consent(confirm, question, "nothing was announced")
        if calibrated is not None:
            publish_checkpoint(store, calibrated, amended.start.checkpoint)
        publish_problem_files(store, amended.environment)
        publish_parameters(store, latest)
        publish_parameters(store, amended)
        block = announce(chain, account.hotkey, locator, amended)
    document = announced.to_json() | {
        "netuid": chain.netuid,
        "seen_at": block,
        "checkpoint": amended.start.checkpoint.hex(),
    }
    text = (
        f"parameters {announced.describe()}; seen in block {block}. Until block "
        f"{announced.decided_at} you can withdraw them: `assay subnet amend --withdraw`"
    )
    print_result(document, as_json, text)


def _withdraw(
    chain: Chain,
    owner: bytes,
    locator: str,
    followed: ParameterFollower,
    confirm: Confirm,
    as_json: bool,
) -> None:
    latest = followed.history.latest
    if followed.pending is None and followed.note is None:
        raise DiscoveryError("no undecided parameters are announced: there is nothing to withdraw")
    name = f"{latest.digest.hex()[:16]}…"
    question = f"Withdraw the announced parameters, so that parameters {name} stay in force?"
    require_consent(confirm, question, "nothing was withdrawn")
    block = announce(chain, owner, locator, latest)
    document = {"netuid": chain.netuid, "digest": latest.digest.hex(), "seen_at": block}
    print_result(document, as_json, f"parameters {name} stay in force, as of block {block}")
