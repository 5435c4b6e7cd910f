"""`assay subnet publish`: the rules and the first checkpoint of a network."""

from pathlib import Path

from assay.cli.console import Confirm, print_result, require_consent
from assay.network.beacon import read_chain_info
from assay.neurons.program.logs import log_lines, make_report, wants_json
from assay.neurons.session.resources import open_account, open_chain, open_own_store
from assay.neurons.settings.loading import ConfigError, parse_hotkey
from assay.neurons.settings.sections import Settings
from assay.protocol import QUICKNET, BeaconChain
from assay.subnet.presets import PRESETS, change_parameters, parse_environment, read_changes
from assay.subnet.publishing import make_subnet_parameters, publish_subnet
from assay.training import GENESIS


def run_subnet_publish(settings: Settings, confirm: Confirm, as_json: bool, quiet: bool) -> None:
    """Publishes parameters and genesis checkpoint, which makes the subnet a network to join."""
    rules = settings.publish
    store, locator = open_own_store(settings)
    account = open_account(settings)
    if rules.trainer is None:
        raise ConfigError("who publishes checkpoints? name the trainer's hotkey with --trainer")
    beacon, trainer = _read_beacon(rules.beacon_info), parse_hotkey(rules.trainer, "--trainer")
    changes = {} if rules.changes is None else read_changes(rules.changes)
    parse_environment(rules.environment)  # while nothing is open yet
    genesis = GENESIS if rules.genesis is None else rules.genesis
    with log_lines(wants_json(settings, as_json), quiet), open_chain(settings.chain) as chain:
        chain.add_wallet(account.wallet)
        parameters = make_subnet_parameters(
            chain, beacon, genesis, trainer, rules.environment, PRESETS[rules.preset], rules.slot_ms
        )
        parameters = change_parameters(parameters, changes)
        question = (
            f"Publish parameters {parameters.digest.hex()[:16]}… for subnet {chain.netuid}? "
            "Whoever works by other ones is on another network from then on."
        )
        require_consent(confirm, question, "nothing was published")
        report = make_report("publication_note")
        block = publish_subnet(chain, account.hotkey, store, locator, parameters, genesis, report)
    digest = parameters.digest.hex()
    document = {
        "netuid": chain.netuid,
        "parameters": digest,
        "locator": locator,
        "block": block,
        "checkpoint": parameters.identity.genesis_checkpoint.hex(),
    }
    text = f"subnet {chain.netuid} has parameters {digest[:16]}…, seen in block {block}"
    print_result(document, as_json, f"{text}; `assay subnet show` says what everybody sees")


def _read_beacon(file: Path | None) -> BeaconChain:
    """quicknet, or the chain that a drand `info` document describes."""
    if file is None:
        return QUICKNET
    try:
        return read_chain_info(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {file} ({error.strerror})") from None
