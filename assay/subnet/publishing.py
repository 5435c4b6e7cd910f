"""Makes a subnet a network to join: its owner publishes parameters and a first checkpoint."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from assay.artifacts.checkpoints.folder import find_checkpoint_fault
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.discovery import DiscoveryError, find_mismatch, publish_parameters
from assay.artifacts.published_problems import publish_all_problems
from assay.artifacts.store_objects import Progress, ignore_progress
from assay.environments.foreign.making import find_making_fault
from assay.environments.registry import open_environment
from assay.inference.checkpoint import Outline, load_checkpoint, load_outline
from assay.network.chain.ports import Chain
from assay.network.store.base import ObjectStore
from assay.protocol.beacon import BeaconChain
from assay.protocol.commitment import Commitment, Tag, encode_commitment, parse_commitment
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import Parameters, find_parameters_fault
from assay.protocol.ss58 import encode_ss58
from assay.session.chain_delivery import Announcement
from assay.subnet.gating import list_gate_notes
from assay.subnet.model_class import make_class
from assay.subnet.presets import Preset, make_identity, make_parameters
from assay.subnet.prompt_notes import list_environment_notes, list_prompt_notes
from assay.subnet.reply_frames import find_closer_fault
from assay.training.gate_answers import find_gate_fault

#: Seconds for a commitment to be in a final block, and between two looks.
_CONFIRM_S, _LOOK_S = 600.0, 3.0
#: What to do where checkpoint and environment do not fit.
_REMEDY = "`assay recipe new` writes a recipe by which checkpoint 0 has levels of it"


def make_subnet_parameters(
    chain: Chain,
    beacon: BeaconChain,
    genesis_folder: Path,
    trainer: bytes,
    environment: str,
    preset: Preset,
    slot_ms: int | None = None,
    amender: bytes = ZERO_DIGEST,
) -> Parameters:
    """Parameters for a new network on a subnet, for its owner to check and change.

    Args:
        trainer: hotkey that will publish checkpoints. It is not the owner's, since each has one
            slot.
        environment: by name, with settings that differ from its defaults: `sat,k=4`.
        slot_ms: the chain's, if it differs from the preset's; the beacon's delay has as many slots.
        amender: hotkey that alone may amend them; zeros: whoever the chain calls the owner.

    Raises:
        CheckpointError: the genesis checkpoint cannot be used.
        DiscoveryError: the owner's hotkey holds no uid.
        ConfigError: there is no such environment.
        ChainError: the chain cannot be read.
    """
    head = chain.get_head()
    owner = chain.get_owner(head)
    seat = chain.get_members(head).get(owner)
    if seat is None:
        raise DiscoveryError(
            f"the owner's hotkey {encode_ss58(owner)} has no uid to take the burn share: "
            "register it"
        )
    outline = load_outline(genesis_folder)  # its tensors are read before it is sent
    digest = outline.manifest.digest
    identity = make_identity(chain.genesis_hash, chain.netuid, seat.uid, trainer, digest)
    identity = replace(identity, amender=amender)
    slot, delay = preset.timing.slot_ms, preset.timing.beacon_delay_ms
    timing = replace(
        preset.timing,
        tempo=chain.get_hyperparameters().tempo,
        slot_ms=slot if slot_ms is None else slot_ms,
        beacon_delay_ms=delay if slot_ms is None else delay * slot_ms // slot,
    )
    made = make_parameters(timing, preset, identity, beacon, environment)
    if not outline.is_plain:
        return made
    return replace(made, model_class=make_class(load_checkpoint(genesis_folder)))


def publish_subnet(
    chain: Chain,
    owner: bytes,
    store: ObjectStore,
    locator: str,
    parameters: Parameters,
    genesis_folder: Path,
    warn: Callable[[str], None],
    progress: Progress = ignore_progress,
    wait: Callable[[float], None] = time.sleep,
    agree: Callable[[], None] = lambda: None,
) -> int:
    """Upload genesis, the environment's files and parameters, then name them in the owner's slot.

    Published objects are left unchanged, so an interrupted publication can simply be repeated.

    Args:
        locator: of the store, as others will open it.
        warn: called with facts that the owner should know, but that do not prevent publication.
        agree: called once everything is checked, before anything is sent; it may raise.

    Returns:
        The final block in which the slot was seen to name them.

    Raises:
        DiscoveryError: nobody could join this network: says why. Nothing was published.
        CheckpointError, StoreError, ChainError: it could not be done, or not be confirmed.
    """
    _require_publishable(chain, owner, parameters, genesis_folder, warn)
    agree()
    publish_checkpoint(store, genesis_folder, parameters.identity.genesis_checkpoint, progress)
    publish_all_problems(store, parameters)
    publish_parameters(store, parameters)
    return announce(chain, owner, locator, parameters, wait)


def _find_amender_fault(parameters: Parameters, slot: Commitment | None) -> str | None:
    """Why the content of an amender's slot would end the network at once; None: it would not."""
    if slot is None or slot.tag is not Tag.PARAMETERS or slot.number:
        return None
    if slot.digest == parameters.digest:
        return None
    return (
        f"the slot of the amender's hotkey {encode_ss58(parameters.identity.amender)} names "
        f"another network, {slot.digest.hex()[:16]}…, which would replace this one: name a "
        "hotkey with --amender that has published none"
    )


def announce(
    chain: Chain,
    owner: bytes,
    locator: str,
    parameters: Parameters,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Name parameters in the slot of a hotkey, the owner's or the amender's. Return the final block
    in which they were seen there. Raises DiscoveryError: no final block has them. ChainError: the
    chain cannot be read or written."""
    window = parameters.start.window
    commitment = Commitment(Tag.PARAMETERS, window, 0, parameters.digest, locator)
    announcement = Announcement(chain, owner, encode_commitment(commitment))
    announcement.look()
    deadline = time.monotonic() + _CONFIRM_S
    while not announcement.is_confirmed:
        if announcement.due:
            announcement.send()
        if time.monotonic() > deadline:
            raise DiscoveryError(
                f"the commitment was sent but is in no final block after {_CONFIRM_S:.0f} s: "
                "run the same command again"
            )
        wait(_LOOK_S)
        announcement.look()
    return announcement.seen_at


def list_network_faults(parameters: Parameters, checkpoint: Outline) -> list[str]:
    """Everything for which nobody could join a network, on whatever chain, each in a line.

    Args:
        checkpoint: the first one.
    """
    levels = checkpoint.manifest.level_numbers
    faults = [find_parameters_fault(parameters)]
    try:
        environment = open_environment(parameters.environment)
        faults.append(find_making_fault(environment))
        fault = find_checkpoint_fault(checkpoint, parameters)
        if fault is not None and not set(levels) <= set(environment.levels):
            fault += f", which has {', '.join(map(str, environment.levels[:24]))}: {_REMEDY}"
        faults.append(fault)
        faults.append(find_gate_fault(parameters, levels))
        faults.append(find_closer_fault(parameters, checkpoint.tokenizer))
    except ValueError as error:
        faults.append(str(error))
    return [fault for fault in faults if fault is not None]


def _require_publishable(
    chain: Chain,
    owner: bytes,
    parameters: Parameters,
    genesis_folder: Path,
    warn: Callable[[str], None],
) -> None:
    head, identity = chain.get_head(), parameters.identity
    members = chain.get_members(head)
    holders = {member.uid: hotkey for hotkey, member in members.items()}
    faults = [find_mismatch(chain, parameters)]
    if chain.get_owner(head) != owner:
        faults.append(
            f"nobody reads the slot of {encode_ss58(owner)}: subnet {chain.netuid} belongs to "
            f"{encode_ss58(chain.get_owner(head))}"
        )
    if identity.owner_uid not in holders:
        faults.append(f"nobody has owner_uid {identity.owner_uid}")
    slots, amender = chain.get_commitments(head), identity.amender
    if identity.trainer == owner:
        faults.append("trainer and owner share a hotkey: its one slot cannot serve both")
    if identity.trainer == amender != ZERO_DIGEST:
        faults.append("trainer and amender share a hotkey: its one slot cannot serve both")
    if amender not in (ZERO_DIGEST, owner):
        slot = parse_commitment(slots.get(amender, b""))
        faults.append(_find_amender_fault(parameters, slot))
    checkpoint = load_checkpoint(genesis_folder, identity.genesis_checkpoint)
    found = [fault for fault in faults if fault is not None]
    found += list_network_faults(parameters, checkpoint)
    if found:
        said = found[0] if len(found) == 1 else "".join(f"\n- {fault}" for fault in found)
        raise DiscoveryError(f"not published, because nobody could join: {said}")
    notes = list_environment_notes(parameters)
    notes += list_prompt_notes(checkpoint, genesis_folder, parameters)
    notes += list_gate_notes(parameters)
    for note in notes:
        warn(note)
    if holders[identity.owner_uid] != owner:
        warn(f"uid {identity.owner_uid}, which takes the burn share, is not the owner's hotkey")
    if identity.trainer not in members:
        warn(
            f"the trainer's hotkey {encode_ss58(identity.trainer)} is not registered: it cannot "
            "publish a checkpoint until it is"
        )
    if amender not in (ZERO_DIGEST, *members):
        warn(
            f"the amender's hotkey {encode_ss58(amender)} is not registered: it cannot announce an "
            "amendment until it is"
        )
    announced = parse_commitment(slots.get(owner, b""))
    is_new = announced is None or announced.digest != parameters.digest
    if is_new and slots.get(identity.trainer):
        warn(
            f"the slot of the trainer's hotkey {encode_ss58(identity.trainer)} is not empty: what "
            "it names from an earlier network is in force at once, in place of the genesis "
            "checkpoint. Name a hotkey with --trainer that has committed nothing"
        )
    tempo = chain.get_hyperparameters().tempo
    if parameters.timing.tempo != tempo:
        warn(f"timing.tempo is {parameters.timing.tempo} and the subnet's is {tempo}")
