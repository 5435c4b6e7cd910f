"""Founds a subnet on a development chain as its owner would: buys it, sets it up, publishes it.

Localnet and demo begin so. Time is virtual meanwhile: each extrinsic makes a block.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.lab.localnet.description import MINER_WALLET, VALIDATOR_WALLET
from assay.lab.localnet.development_calls import change_settings, send_tao
from assay.network.chain.connection import Connection
from assay.network.chain.subnet_owner import create_subnet, get_subnet_cost, start_subnet
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.values import TAO
from assay.network.chain.wallets import ChainWallet, get_coldkey, open_wallet
from assay.network.store.base import ObjectStore
from assay.neurons.program.logs import make_report
from assay.protocol.beacon import BeaconChain
from assay.protocol.encoding import to_json
from assay.protocol.parameters import DEMO_TIMING, Parameters, compute_scoring_load
from assay.session.window_time import compute_window_seconds
from assay.settings.loading import ConfigError
from assay.settings.sections import MinerSettings, WalletSettings

if TYPE_CHECKING:
    from assay.subnet.calibration_findings import CalibrationFindings
    from assay.subnet.recipe import Recipe

PRESET = "demo"
#: Share of this machine that a miner has beside validator and trainer.
_OWN_SHARE = 0.5
#: Money and stake of those that a network may begin with.
_MONEY, _STAKE = 1_000 * TAO, 900 * TAO
#: A window of a recipe's subnet, in blocks.
_TIMING = {"window_blocks": 30, "verdict_end": 30, "tempo": 60}


def buy_subnet(connection: Connection, owner: ChainWallet, tempo: int) -> int:
    """Buy a subnet, open it for stake and set its hyperparameters. Return its netuid. `tempo` is
    the number of blocks between epochs, counted from here."""
    change_settings(
        connection,
        [
            ("sudo_set_admin_freeze_window", {"window": 0}),
            ("sudo_set_stake_threshold", {"min_stake": 0}),
        ],
    )
    netuid = create_subnet(connection, owner, get_subnet_cost(connection))
    start_subnet(connection, owner, netuid)
    of_subnet = (
        ("tempo", "tempo", tempo),
        # it would need quicknet's rounds, and a localnet needs nothing from outside
        ("commit_reveal_weights_enabled", "enabled", False),
        ("weights_set_rate_limit", "weights_set_rate_limit", 0),
    )
    change_settings(
        connection,
        [(f"sudo_set_{name}", {"netuid": netuid, key: value}) for name, key, value in of_subnet],
    )
    return netuid


def add_members(connection: Connection, chain: SubtensorChain) -> None:
    """Give a miner and a validator money and a uid, and the validator stake."""
    miner, validator = (
        open_wallet(name, WalletSettings().hotkey, Path())
        for name in (MINER_WALLET, VALIDATOR_WALLET)
    )
    send_tao(connection, {get_coldkey(wallet): _MONEY for wallet in (miner, validator)})
    hotkeys = [chain.add_wallet(wallet) for wallet in (miner, validator)]
    for hotkey in hotkeys:
        chain.register(hotkey, chain.quote_registration(hotkey).cost)
    chain.add_stake(hotkeys[-1], _STAKE, any_price=True)


def shorten_windows(recipe: "Recipe") -> "Recipe":
    """A recipe with windows that a person can wait for: of 30 blocks, each over before the next
    begins. All else is its own, but for valued groups where scoring them would take too long.
    Recipes for a demo stay as they are."""
    if recipe.preset == "demo":
        return recipe
    from assay.environments.registry import count_named_units  # loads numpy

    rules = recipe.make_rules()
    changed: dict[str, Any] = {name: to_json(getattr(rules, name)) for name in ("work", "tests")}
    timing = dict(_TIMING)
    units = count_named_units(recipe.environment).total()
    short = replace(DEMO_TIMING, **timing)
    load, room = compute_scoring_load(units, short, rules.work)
    if load > room:
        least = load // rules.work.valued_groups
        changed["work"]["valued_groups"] = max(1, room // least)
        if least > room:
            blocks = -(-timing["window_blocks"] * least // room)
            timing |= {"window_blocks": blocks, "verdict_end": blocks, "tempo": 2 * blocks}
    parameters = {**recipe.parameters, **changed, "timing": timing}
    return recipe.model_copy(update={"preset": "demo", "parameters": parameters})


def make_first_checkpoint(
    recipe: "Recipe",
    model: Path | None,
    folder: Path,
    report: Callable[[str], None],
    device: str = "cpu",
) -> "tuple[Path, CalibrationFindings | None]":
    """The folder of a recipe's first checkpoint: `model`, if it is one, or `folder`, which gets one
    of it; and what its calibration finds.

    Args:
        model: None: the shipped one, if that is the recipe's.
        report: called with what takes long.
        device: that calibrates it.

    Raises:
        ConfigError, CheckpointError: the model cannot be used, or is missing.
    """
    from assay.environments.registry import open_environment
    from assay.inference.checkpoint import load_outline
    from assay.inference.folder import MANIFEST_FILE
    from assay.subnet.genesis_checkpoint import make_recipe_genesis
    from assay.subnet.measurements import open_measurements
    from assay.subnet.presets import DEMO_RECIPE
    from assay.subnet.recipe import read_recipe, require_architecture
    from assay.training import GENESIS

    if model is None and recipe.model.name != read_recipe(DEMO_RECIPE).model.name:
        raise ConfigError(
            f"the recipe needs its model: name a folder with {recipe.model.name}, or a checkpoint "
            "made of it, with --model"
        )
    rules, kept = recipe.make_rules(recipe.fill_environment()), open_measurements()
    if model is not None and (model / MANIFEST_FILE).exists():
        require_architecture(recipe, model)
        manifest, legal = load_outline(model).manifest, open_environment(rules.environment).levels
        has_length = manifest.max_tokens <= rules.work.max_tokens
        if has_length and set(manifest.level_numbers) <= set(legal):
            return model, None
        report(f"{model} is a checkpoint of other problems: its model is calibrated for these")
    given = recipe, model or GENESIS, folder, rules
    return folder, make_recipe_genesis(*given, device, report, kept).findings


def count_groups(
    recipe: "Recipe",
    rules: Parameters,
    findings: "CalibrationFindings | None",
    report: Callable[[str], None],
) -> int:
    """The groups that a miner of this machine may make in a window, at the speed of the
    calibration; without one as many as the recipe's miners draw together.

    Args:
        report: called where not even one may be finished in time.
    """
    work, course = rules.work, recipe.course
    if findings is None or not findings.token_seconds:
        return min(work.group_cap, course.groups_per_step)
    allowed = compute_window_seconds(rules.timing, MinerSettings().commit_margin)
    takes = work.group_size * course.lengths.completion * findings.token_seconds / _OWN_SHARE
    if takes > allowed:
        report(
            f"a group of {work.group_size} may take a miner {takes:,.0f} s on this machine, and a "
            f"window has {allowed:,.0f} s for it: begin anew with a larger --block-time"
        )
    return max(1, min(work.group_cap, int(allowed / takes)))


def publish_rules(
    chain: SubtensorChain,
    owner: bytes,
    trainer: bytes,
    beacon: BeaconChain,
    store: ObjectStore,
    locator: str,
    genesis: Path,
    slot_ms: int,
    pass_blocks: Callable[[int], int],
    recipe: "Recipe | None" = None,
) -> Parameters:
    """Publish a subnet's parameters, and its first checkpoint.

    Args:
        pass_blocks: makes this many blocks.
        recipe: of the network; None: the demo's.
    """
    # a running localnet needs no model in memory
    from assay.inference.checkpoint import load_outline
    from assay.subnet.presets import DEMO_ENVIRONMENT, PRESETS, change_parameters
    from assay.subnet.publishing import make_subnet_parameters, publish_subnet
    from assay.subnet.reply_frames import fill_frames
    from assay.subnet.waiting import ignore_report

    def wait(_: float) -> None:
        pass_blocks(1)

    environment = DEMO_ENVIRONMENT if recipe is None else recipe.fill_environment()
    parameters = make_subnet_parameters(
        chain, beacon, genesis, trainer, environment, PRESETS[PRESET], slot_ms
    )
    if recipe is not None:
        parameters = change_parameters(parameters, recipe.parameters)
        parameters = fill_frames(parameters, load_outline(genesis).tokenizer, ignore_report)
    publish_subnet(
        chain,
        owner,
        store,
        locator,
        parameters,
        genesis,
        make_report("publication_note"),
        wait=wait,
    )
    return parameters
