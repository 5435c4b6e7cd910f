"""`assay subnet publish`: publishes the parameters and the first checkpoint of a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.cli.console import Confirm, print_result, require_consent
from assay.cli.exits import cleaning_up
from assay.inference import load_outline
from assay.network.beacon import read_chain_info
from assay.neurons.program.logs import log_lines, make_report, wants_json
from assay.protocol import QUICKNET, BeaconChain
from assay.protocol.reward_terms import describe_rewards
from assay.session.resources import open_account, open_chain, open_own_store
from assay.settings.loading import ConfigError, parse_hotkey
from assay.settings.placing import open_placement
from assay.settings.sections import PublishSettings, Settings
from assay.subnet.genesis_checkpoint import make_recipe_genesis
from assay.subnet.presets import PRESETS, change_parameters, parse_environment, read_changes
from assay.subnet.publishing import make_subnet_parameters, publish_subnet
from assay.subnet.recipe import Recipe, read_recipe, require_architecture
from assay.subnet.reply_frames import fill_frames
from assay.training import GENESIS


@dataclass(frozen=True, slots=True)
class _ChosenRules:
    """The parameters to publish, before anything is asked of a chain."""

    preset: str
    environment: str
    changes: tuple[Mapping[str, Any], ...]  # to parameters, applied in order
    recipe: Recipe | None


def run_subnet_publish(settings: Settings, confirm: Confirm, as_json: bool, quiet: bool) -> None:
    """Publish parameters and genesis checkpoint, which makes the subnet a network to join."""
    rules = settings.publish
    store, locator = open_own_store(settings)
    account = open_account(settings)
    beacon = _read_beacon(rules.beacon_info)
    trainer = parse_hotkey(rules.trainer or "", "--trainer")  # the command has checked it
    chosen = _choose(rules)
    with log_lines(wants_json(settings, as_json), quiet):
        report = make_report("publication_note")
        genesis = _find_genesis(settings, chosen, report)
        with open_chain(settings.chain) as chain:
            chain.add_wallet(account.wallet)
            preset = PRESETS[chosen.preset]
            parameters = make_subnet_parameters(
                chain, beacon, genesis, trainer, chosen.environment, preset, rules.slot_ms
            )
            for changes in chosen.changes:
                parameters = change_parameters(parameters, changes)
            parameters = fill_frames(parameters, load_outline(genesis).tokenizer, report)
            question = (
                f"Publish parameters {parameters.digest.hex()[:16]}… for subnet {chain.netuid}? "
                "Programs with other parameters are then on another network."
            )
            require_consent(confirm, question, "nothing was published")
            block = publish_subnet(
                chain, account.hotkey, store, locator, parameters, genesis, report
            )
    digest = parameters.digest.hex()
    rewards = describe_rewards(parameters.rewards, parameters.work.max_tokens)
    document = {
        "netuid": chain.netuid,
        "parameters": digest,
        "locator": locator,
        "block": block,
        "checkpoint": parameters.identity.genesis_checkpoint.hex(),
        "rewards": rewards,
    }
    text = f"subnet {chain.netuid} has parameters {digest[:16]}…, seen in block {block}"
    paid = f"rewards: {'; '.join(rewards)}"
    print_result(document, as_json, f"{text}; `assay subnet show` shows them\n{paid}")


def _choose(rules: PublishSettings) -> _ChosenRules:
    """The combination of flags, recipe and preset, before anything is opened."""
    recipe = None if rules.recipe is None else read_recipe(rules.recipe)
    if rules.model is not None and rules.genesis is not None:
        raise ConfigError("--model and --genesis both name the first checkpoint: leave one out")
    if recipe is None and rules.model is not None:
        raise ConfigError("--model needs a recipe: name one with --recipe")
    changes = {} if rules.changes is None else read_changes(rules.changes)
    if recipe is None:
        environment = rules.environment or "arithmetic"
        parse_environment(environment)
        return _ChosenRules(rules.preset or "main", environment, (changes,), None)
    folder = rules.model or rules.genesis
    if folder is None:
        raise ConfigError(
            f"the recipe needs its model: name a folder with {recipe.model.name} with --model, or "
            "the checkpoint made of it with --genesis"
        )
    if rules.model is None:  # a model's is compared once it is adopted
        require_architecture(recipe, folder)
    environment = rules.environment or recipe.fill_environment()
    recipe.require_levels(environment)
    preset = rules.preset or recipe.preset
    recipe.make_rules(environment, preset, changes)
    return _ChosenRules(preset, environment, (recipe.parameters, changes), recipe)


def _find_genesis(settings: Settings, chosen: _ChosenRules, report: Callable[[str], None]) -> Path:
    """The folder of checkpoint 0, which is made if a model is named."""
    rules, recipe = settings.publish, chosen.recipe
    if rules.model is None or recipe is None:
        return GENESIS if rules.genesis is None else rules.genesis
    wanted = recipe.make_rules(chosen.environment, chosen.preset, chosen.changes[-1])
    placement = open_placement(settings.compute)
    report(f"making checkpoint 0 of {rules.model} on {placement.device}: minutes to hours")
    with cleaning_up():
        manifest = make_recipe_genesis(
            recipe, rules.model, rules.out, wanted, placement.device, report
        )
    report(f"checkpoint {manifest.digest.hex()[:16]}… is in {rules.out}")
    return rules.out


def _read_beacon(file: Path | None) -> BeaconChain:
    """quicknet, or the chain that a drand `info` document describes."""
    if file is None:
        return QUICKNET
    try:
        return read_chain_info(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {file} ({error.strerror})") from None
