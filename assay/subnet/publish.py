"""The act of publishing a network: from an owner's choices to parameters that everybody finds.

    request = PublishRequest(trainer=hotkey, environment="sat")
    published = publish(prepare(request), OwnedSubnet(chain, owner, store, locator))

`prepare` needs no chain: it checks the choices, and makes checkpoint 0 if a model is named, which
takes minutes to hours. `publish` can be repeated after a stop.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.inference.checkpoint import load_outline
from assay.inference.plain_probes import PUBLISH_TOKENS
from assay.network.beacon import read_chain_info
from assay.network.chain.ports import Chain
from assay.network.consent import Consent, agree
from assay.network.store.base import ObjectStore
from assay.protocol.beacon import QUICKNET, BeaconChain
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Parameters
from assay.protocol.ss58 import encode_ss58
from assay.settings.loading import ConfigError, parse_hotkey
from assay.settings.placing import open_placement
from assay.settings.sections import ComputeSettings, PublishSettings
from assay.subnet.calibration_findings import CalibrationFindings
from assay.subnet.chain_settings import list_burn_notes
from assay.subnet.genesis_checkpoint import make_recipe_genesis
from assay.subnet.measurements import open_measurements
from assay.subnet.model_class import describe_class
from assay.subnet.presets import PRESETS, change_parameters, parse_environment, read_changes
from assay.subnet.publishing import make_subnet_parameters, publish_subnet
from assay.subnet.recipe import Recipe, read_recipe, require_architecture
from assay.subnet.reply_frames import fill_frames
from assay.subnet.waiting import Report, ignore_report
from assay.training import GENESIS


@dataclass(frozen=True, slots=True)
class OwnedSubnet:
    """A subnet as its owner works on it.

    Attributes:
        owner: hotkey of the owner, for which `chain` can sign.
        store: the owner's, for writing.
        locator: of the store, as others will open it.
    """

    chain: Chain
    owner: bytes
    store: ObjectStore
    locator: str


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """The network that an owner wants. Flags of `assay subnet publish` have the same names.

    Attributes:
        trainer: hotkey that publishes checkpoints.
        environment, preset: by name; None: the recipe's, or arithmetic and main.
        slot_ms: the chain's, if it differs from the preset's.
        amender: hotkey that alone may amend the network, for ever; None: whoever the chain calls
            the subnet's owner.
        changes: section and field → value, applied last, see `change_parameters`.
        model: with a recipe, folder of the model that becomes checkpoint 0.
        genesis: folder of a finished checkpoint 0; None: the shipped one, unless a model is named.
        out: gets the checkpoint that is made of the model.
        compute: where it is made.
        compared: tokens on which two implementations of a model without a family are compared.
    """

    trainer: bytes
    beacon: BeaconChain = QUICKNET
    environment: str | None = None
    preset: str | None = None
    slot_ms: int | None = None
    amender: bytes | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe | None = None
    model: Path | None = None
    genesis: Path | None = None
    out: Path = Path("assay-genesis")
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    compared: int = PUBLISH_TOKENS


@dataclass(frozen=True, slots=True)
class PreparedNetwork:
    """Checked choices, and the folder of checkpoint 0. `changes` are applied in order. `findings`:
    of its calibration, if it was made of a model."""

    trainer: bytes
    beacon: BeaconChain
    environment: str
    preset: str
    slot_ms: int | None
    amender: bytes | None
    changes: tuple[Mapping[str, Any], ...]
    genesis: Path
    findings: CalibrationFindings | None = None


@dataclass(frozen=True, slots=True)
class PublishedNetwork:
    """What was published, where, and the final block in which the owner's slot names it.
    `findings`: see `PreparedNetwork`."""

    netuid: int
    parameters: Parameters
    locator: str
    block: int
    findings: CalibrationFindings | None


def read_publish_request(rules: PublishSettings, compute: ComputeSettings) -> PublishRequest:
    """The request of `[publish]`, with its files read. Raises ConfigError."""
    beacon = _read_beacon(rules.beacon_info)
    if rules.trainer is None:
        raise ConfigError("who publishes checkpoints? name the trainer's hotkey with --trainer")
    return PublishRequest(
        trainer=parse_hotkey(rules.trainer, "--trainer"),
        beacon=beacon,
        environment=rules.environment,
        preset=rules.preset,
        slot_ms=rules.slot_ms,
        amender=None if rules.amender is None else parse_hotkey(rules.amender, "--amender"),
        recipe=None if rules.recipe is None else read_recipe(rules.recipe),
        changes={} if rules.changes is None else read_changes(rules.changes),
        model=rules.model,
        genesis=rules.genesis,
        out=rules.out,
        compute=compute,
        compared=rules.compared,
    )


def prepare(request: PublishRequest, report: Report = ignore_report) -> PreparedNetwork:
    """Check the choices, and make checkpoint 0 if a model is named.

    Raises:
        ConfigError: they do not fit together, or the model is not the recipe's.
        CheckpointError: the model cannot be used.
    """
    recipe, changes = request.recipe, request.changes
    if request.model is not None and request.genesis is not None:
        raise ConfigError("--model and --genesis both name the first checkpoint: leave one out")
    if recipe is None and request.model is not None:
        raise ConfigError("--model needs a recipe: name one with --recipe")
    if recipe is None:
        environment, preset = request.environment or "arithmetic", request.preset or "main"
        parse_environment(environment)
        return _fix(request, environment, preset, (changes,), request.genesis or GENESIS)
    folder = request.model or request.genesis
    if folder is None:
        raise ConfigError(
            f"the recipe needs its model: name a folder with {recipe.model.name} with --model, or "
            "the checkpoint made of it with --genesis"
        )
    if request.model is None:  # a model's is compared once it is adopted
        require_architecture(recipe, folder)
    environment = recipe.fill_environment(request.environment)
    recipe.require_levels(environment)
    preset = request.preset or recipe.preset
    wanted = recipe.make_rules(environment, preset, changes)
    findings = None
    if request.model is not None:
        folder = request.out
        placement = open_placement(request.compute)
        report(f"making checkpoint 0 of {request.model} on {placement.device}: minutes to hours")
        made = make_recipe_genesis(
            recipe,
            request.model,
            folder,
            wanted,
            placement.device,
            report,
            open_measurements(),
            request.compared,
        )
        report(f"checkpoint {made.manifest.digest.hex()[:16]}… is in {folder}")
        for line in made.findings.describe():
            report(line)
        findings = made.findings
    return _fix(request, environment, preset, (recipe.parameters, changes), folder, findings)


def _fix(
    request: PublishRequest,
    environment: str,
    preset: str,
    changes: tuple[Mapping[str, Any], ...],
    genesis: Path,
    findings: CalibrationFindings | None = None,
) -> PreparedNetwork:
    return PreparedNetwork(
        request.trainer,
        request.beacon,
        environment,
        preset,
        request.slot_ms,
        request.amender,
        changes,
        genesis,
        findings,
    )


def publish(
    network: PreparedNetwork,
    subnet: OwnedSubnet,
    consent: Consent = agree,
    report: Report = ignore_report,
    wait: Callable[[float], None] = time.sleep,
) -> PublishedNetwork:
    """Publish parameters and first checkpoint, which makes the subnet a network to join.

    Args:
        report: called with facts that the owner should know, but that do not prevent publication.
        wait: called with seconds between two looks at the chain.

    Raises:
        DiscoveryError: nobody could join this network, or no final block names it.
        ConfigError: a change is not one of these parameters.
        CheckpointError, StoreError, ChainError: it could not be done, or not be confirmed.
    """
    chain, genesis = subnet.chain, network.genesis
    parameters = make_subnet_parameters(
        chain,
        network.beacon,
        genesis,
        network.trainer,
        network.environment,
        PRESETS[network.preset],
        network.slot_ms,
        network.amender or ZERO_DIGEST,
    )
    for changes in network.changes:
        parameters = change_parameters(parameters, changes)
    if parameters.model_class is not None:
        report(describe_class(parameters.model_class))
    parameters = fill_frames(parameters, load_outline(genesis).tokenizer, report)
    for note in list_burn_notes(parameters):
        report(note)
    question = (
        f"Publish parameters {parameters.digest.hex()[:16]}… for subnet {chain.netuid}? "
        f"Programs with other parameters are then on another network.{_warn_of_amender(parameters)}"
    )
    to = chain, subnet.owner, subnet.store, subnet.locator
    block = publish_subnet(
        *to, parameters, genesis, report, wait=wait, agree=lambda: consent(question)
    )
    return PublishedNetwork(chain.netuid, parameters, subnet.locator, block, network.findings)


def _warn_of_amender(parameters: Parameters) -> str:
    """What an owner must know before a network has an amender; empty: it has none."""
    amender = parameters.identity.amender
    if amender == ZERO_DIGEST:
        return ""
    return (
        f" Only hotkey {encode_ss58(amender)} amends them, whoever owns the subnet. No amendment "
        "changes that: if its key is lost, these parameters stay for ever."
    )


def _read_beacon(file: Path | None) -> BeaconChain:
    """quicknet, or the chain that a drand `info` document describes."""
    if file is None:
        return QUICKNET
    try:
        return read_chain_info(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {file} ({error.strerror})") from None
