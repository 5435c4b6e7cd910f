"""From a chain to a network: the owner's slot names the parameters, and they name the rest.

The owner publishes; everybody else finds. A slot that comes to name other parameters names another
network: programs stop rather than work for the one that is gone.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from assay.environments import open_environment
from assay.inference import load_checkpoint
from assay.network import ObjectStore, StoreError
from assay.network.chain import Hyperparameters
from assay.neurons.announcement import Announcement
from assay.neurons.ports import Chain
from assay.neurons.presets import Preset, make_identity, make_parameters
from assay.neurons.publication import (
    Progress,
    PublicationError,
    fetch_parameters,
    ignore_progress,
    publish_checkpoint,
    publish_parameters,
)
from assay.neurons.submissions import find_checkpoint_fault
from assay.protocol import (
    BeaconChain,
    Commitment,
    Parameters,
    Tag,
    encode_commitment,
    encode_ss58,
    parse_commitment,
)
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import find_parameters_fault

OpenStore = Callable[[str], ObjectStore]
#: Seconds for a commitment to come to stand in a final block, and between two looks.
_CONFIRM_S, _LOOK_S = 600.0, 3.0


class DiscoveryError(OperatorError):
    """A network cannot be found or published: says what is missing, and who has to do what."""


class SubnetChain(Chain, Protocol):
    """A chain as far as a network's owner needs it, too."""

    @property
    def netuid(self) -> int:
        """Which subnet this is."""

    def get_owner(self, number: int) -> bytes:
        """The hotkey of the subnet's owner at a block: its slot holds the parameters."""

    def get_hyperparameters(self, number: int | None = None) -> Hyperparameters:
        """The subnet's settings at a block, or now."""


# --- finding


def read_announcement(chain: SubnetChain) -> Commitment:
    """What the owner's slot says of the parameters in the newest final block.

    Raises:
        DiscoveryError: nothing, or something else.
        ChainError: the chain cannot be read.
    """
    head = chain.get_head()
    owner = chain.get_owner(head)
    payload = chain.get_commitments(head).get(owner)
    where = f"subnet {chain.netuid}'s owner, {encode_ss58(owner)},"
    if payload is None:
        raise DiscoveryError(
            f"{where} has published no parameters up to block {head}: it has to run "
            "`assay subnet publish`"
        )
    commitment = parse_commitment(payload)
    if commitment is None or commitment.tag is not Tag.PARAMETERS:
        what = "no commitment of Assay's" if commitment is None else f"a {commitment.tag.name}'s"
        raise DiscoveryError(
            f"{where} holds {what} in its slot at block {head} and no parameters: it has to run "
            "`assay subnet publish` with this hotkey, which can serve for nothing else"
        )
    return commitment


def find_parameters(chain: SubnetChain, open_store: OpenStore) -> Parameters:
    """The parameters that the owner has published, fetched and verified.

    Args:
        open_store: from a locator. It is a stranger's word: the opener decides what may be opened.

    Raises:
        DiscoveryError: says exactly what is missing.
        ChainError: the chain cannot be read.
    """
    commitment = read_announcement(chain)
    digest, locator = commitment.digest, commitment.locator
    try:
        parameters = fetch_parameters(open_store(locator), digest)
    except (StoreError, PublicationError) as error:
        raise DiscoveryError(
            f"parameters {digest.hex()[:16]}… of subnet {chain.netuid} cannot be had from "
            f"{locator!r}, where its owner says they are: {error}"
        ) from error
    fault = _find_mismatch(chain, parameters)
    if fault is not None:
        raise DiscoveryError(f"the owner of subnet {chain.netuid} has published {fault}")
    return parameters


def has_parameters_changed(chain: SubnetChain, parameters: Parameters) -> str | None:
    """Why whoever works by these parameters should stop: the owner's slot says something else.

    None where it names them still. One look at the newest final block.

    Raises:
        ChainError: the chain cannot be read.
    """
    try:
        commitment = read_announcement(chain)
    except DiscoveryError as error:
        return f"these parameters are withdrawn: {error}"
    if commitment.digest == parameters.digest:
        return None
    return (
        f"the owner of subnet {chain.netuid} has published other parameters, "
        f"{commitment.digest.hex()[:16]}… in place of {parameters.digest.hex()[:16]}…: it is "
        "another network; start again to join it"
    )


def make_mirrors(
    chain: SubnetChain, parameters: Parameters, open_store: OpenStore
) -> Callable[[], Iterator[ObjectStore]]:
    """Where checkpoints may be had: the stores that trainer and owner name on chain just now.

    Raises:
        ChainError: when iterated, where the chain cannot be read.
    """

    def iterate() -> Iterator[ObjectStore]:
        head = chain.get_head()
        slots = chain.get_commitments(head)
        seen = set()
        for hotkey in (parameters.identity.trainer, chain.get_owner(head)):
            commitment = parse_commitment(slots.get(hotkey, b""))
            if commitment is None or commitment.locator in seen:
                continue
            seen.add(commitment.locator)
            try:
                store = open_store(commitment.locator)
            except StoreError:  # the other one may serve
                continue
            yield store

    return iterate


def _find_mismatch(chain: SubnetChain, parameters: Parameters) -> str | None:
    identity = parameters.identity
    if identity.genesis_hash != chain.genesis_hash:
        return (
            f"parameters of the chain with genesis hash {identity.genesis_hash.hex()[:16]}…, and "
            f"this one has {chain.genesis_hash.hex()[:16]}…"
        )
    if identity.netuid != chain.netuid:
        return f"parameters of subnet {identity.netuid}, and this one is {chain.netuid}"
    return None


# --- publishing


def make_subnet_parameters(
    chain: SubnetChain,
    beacon: BeaconChain,
    genesis_folder: Path,
    trainer: bytes,
    environment: str,
    preset: Preset,
    slot_ms: int | None = None,
) -> Parameters:
    """Parameters for a new network on a subnet, for its owner to look at and change.

    Args:
        trainer: hotkey that will publish checkpoints; not the owner's, since each has one slot.
        environment: by name, with its default settings.
        slot_ms: the chain's, where it is not the preset's.

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
            f"the owner's hotkey {encode_ss58(owner)} holds no uid to take the burn share: "
            "register it"
        )
    checkpoint = load_checkpoint(genesis_folder)
    identity = make_identity(chain.genesis_hash, chain.netuid, seat.uid, trainer, checkpoint.digest)
    timing = replace(
        preset.timing,
        tempo=chain.get_hyperparameters().tempo,
        slot_ms=preset.timing.slot_ms if slot_ms is None else slot_ms,
    )
    return make_parameters(timing, preset, identity, beacon, environment)


def publish_subnet(
    chain: SubnetChain,
    owner: bytes,
    store: ObjectStore,
    locator: str,
    parameters: Parameters,
    genesis_folder: Path,
    warn: Callable[[str], None],
    progress: Progress = ignore_progress,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Uploads genesis and parameters, then names them in the owner's slot.

    What is published already is left as it is, so a publication that was cut off is just repeated.

    Args:
        locator: of the store, as everybody else will open it.
        warn: called with what does not hinder, but should be known.

    Returns:
        The final block in which the slot was seen to name them.

    Raises:
        DiscoveryError: nobody could join this network: says why. Nothing was published.
        CheckpointError, StoreError, ChainError: it could not be done, or not be confirmed.
    """
    _require_publishable(chain, owner, parameters, genesis_folder, warn)
    commitment = Commitment(Tag.PARAMETERS, 0, 0, parameters.digest, locator)
    publish_checkpoint(store, genesis_folder, parameters.identity.genesis_checkpoint, progress)
    publish_parameters(store, parameters)
    announcement = Announcement(chain, owner, encode_commitment(commitment))
    announcement.look()
    deadline = time.monotonic() + _CONFIRM_S
    while not announcement.stands:
        if announcement.due:
            announcement.send()
        if time.monotonic() > deadline:
            raise DiscoveryError(
                f"the commitment was sent and stands in no final block after {_CONFIRM_S:.0f} s: "
                "run the same command again"
            )
        wait(_LOOK_S)
        announcement.look()
    return announcement.seen_at


def _require_publishable(
    chain: SubnetChain,
    owner: bytes,
    parameters: Parameters,
    genesis_folder: Path,
    warn: Callable[[str], None],
) -> None:
    head, identity = chain.get_head(), parameters.identity
    members = chain.get_members(head)
    holders = {member.uid: hotkey for hotkey, member in members.items()}
    fault = find_parameters_fault(parameters) or _find_mismatch(chain, parameters)
    if fault is None and chain.get_owner(head) != owner:
        fault = (
            f"a slot nobody looks at: subnet {chain.netuid} belongs to "
            f"{encode_ss58(chain.get_owner(head))}, not to {encode_ss58(owner)}"
        )
    if fault is None and identity.owner_uid not in holders:
        fault = f"owner_uid {identity.owner_uid}, which nobody holds"
    if fault is None and identity.trainer == owner:
        fault = "trainer and owner share one hotkey: its one slot cannot hold both"
    if fault is None:
        checkpoint = load_checkpoint(genesis_folder, identity.genesis_checkpoint)
        try:
            open_environment(parameters.environment)
            fault = find_checkpoint_fault(checkpoint, parameters)
        except ValueError as error:
            fault = str(error)
    if fault is not None:
        raise DiscoveryError(f"not published, since nobody could join: {fault}")
    if holders[identity.owner_uid] != owner:
        warn(f"uid {identity.owner_uid}, which takes the burn share, is not the owner's hotkey")
    if identity.trainer not in members:
        warn(
            f"the trainer's hotkey {encode_ss58(identity.trainer)} is not registered: it cannot "
            "publish a checkpoint until it is"
        )
    tempo = chain.get_hyperparameters().tempo
    if parameters.timing.tempo != tempo:
        warn(f"timing.tempo is {parameters.timing.tempo} and the subnet's is {tempo}")
