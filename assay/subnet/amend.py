"""The act of amending a running network: new parameters are announced, or taken back."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.artifacts.announced_parameters import AnnouncedParameters
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.discovery import DiscoveryError, find_amender, publish_parameters
from assay.artifacts.published_problems import publish_all_problems
from assay.network.consent import Consent, agree
from assay.network.store.base import ObjectStore
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.ss58 import encode_ss58
from assay.session.parameter_follower import ParameterFollower
from assay.settings.loading import ConfigError
from assay.settings.sections import AmendSettings
from assay.subnet.amending import amend, amend_frames, name_checkpoint, require_amendment
from assay.subnet.presets import read_changes
from assay.subnet.publish import OwnedSubnet
from assay.subnet.publishing import announce
from assay.subnet.waiting import Report, ignore_report


@dataclass(frozen=True, slots=True)
class AmendRequest:
    """Changes of a running network's parameters.

    Attributes:
        changes: section and field → value, see `change_parameters`.
        window: the first for which they hold; None: the first possible one.
        checkpoint: folder of the checkpoint to calibrate, if the changes need it.
        out: gets the calibrated one.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    window: int | None = None
    checkpoint: Path | None = None
    out: Path = Path("assay-amended")


@dataclass(frozen=True, slots=True)
class Amended:
    """Announced parameters, and the final block in which the amender's slot names them."""

    netuid: int
    announced: AnnouncedParameters
    block: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The digest of the parameters that stay in force, and the final block that says so."""

    netuid: int
    digest: bytes
    block: int


def read_amend_request(amending: AmendSettings) -> AmendRequest:
    """The request of `[amend]`, with its file read. Raises ConfigError."""
    changes = {} if amending.changes is None else read_changes(amending.changes)
    return AmendRequest(changes, amending.window, amending.checkpoint, amending.out)


def follow_owned(
    subnet: OwnedSubnet, open_store: Callable[[str], ObjectStore], folder: Path
) -> ParameterFollower:
    """The parameters that were named so far, for whoever names more: the subnet's owner, or the
    amender that the parameters name.

    Args:
        open_store: the store of a locator.
        folder: where fetched parameters are kept.

    Raises:
        ConfigError: the network is amended by another hotkey.
        DiscoveryError: decided parameters cannot be read: any other announcement would be void.
    """
    chain = subnet.chain
    followed = ParameterFollower(chain, open_store, folder)
    identity = followed.history.first.identity
    amender = find_amender(chain, identity, chain.get_head())
    if amender != subnet.owner:
        why = "owns the subnet" if identity.amender == ZERO_DIGEST else "its parameters name for it"
        raise ConfigError(
            f"only {encode_ss58(amender)}, which {why}, amends the network of subnet "
            f"{chain.netuid}: the wallet's hotkey is {encode_ss58(subnet.owner)}, and nobody reads "
            "what it announces"
        )
    if followed.history.end is not None:
        raise DiscoveryError(f"{followed.note}; put that file back into the store first")
    return followed


def announce_amendment(
    request: AmendRequest,
    subnet: OwnedSubnet,
    followed: ParameterFollower,
    consent: Consent = agree,
    report: Report = ignore_report,
    wait: Callable[[float], None] = time.sleep,
) -> Amended:
    """Announce parameters that follow those in force, in place of undecided ones.

    Args:
        followed: see `follow_owned`.
        report: called with what the owner should know.
        wait: called with seconds between two looks at the chain.

    Raises:
        ConfigError: the changes are invalid, change nothing, or lack their checkpoint.
        DiscoveryError: nobody would follow them, or no final block names them.
        CheckpointError, StoreError, ChainError: it could not be done, or not be confirmed.
    """
    chain, latest = subnet.chain, followed.history.latest
    amended = amend(chain, latest, request.changes, request.window)
    amended = amend_frames(latest, amended, request.checkpoint, report)
    amended = name_checkpoint(chain, latest, amended, request.checkpoint, request.out)
    calibrated = request.out if request.checkpoint is not None else None
    for note in require_amendment(latest, amended, calibrated):
        report(note)
    announced = AnnouncedParameters(amended, latest, is_decided=False)
    instead = "" if followed.pending is None else " in place of the announced ones"
    consent(f"Announce{instead} parameters {announced.describe()}?")
    if calibrated is not None:
        publish_checkpoint(subnet.store, calibrated, amended.start.checkpoint)
    publish_all_problems(subnet.store, amended)
    publish_parameters(subnet.store, latest)
    publish_parameters(subnet.store, amended)
    block = announce(chain, subnet.owner, subnet.locator, amended, wait)
    return Amended(chain.netuid, announced, block)


def withdraw_amendment(
    subnet: OwnedSubnet,
    followed: ParameterFollower,
    consent: Consent = agree,
    wait: Callable[[float], None] = time.sleep,
) -> Withdrawn:
    """Take an undecided announcement back. Raises DiscoveryError: there is none. ChainError: it
    could not be done."""
    chain, latest = subnet.chain, followed.history.latest
    if followed.pending is None and followed.note is None:
        raise DiscoveryError("no undecided parameters are announced: there is nothing to withdraw")
    name = f"{latest.digest.hex()[:16]}…"
    consent(f"Withdraw the announced parameters, so that parameters {name} stay in force?")
    block = announce(chain, subnet.owner, subnet.locator, latest, wait)
    return Withdrawn(chain.netuid, latest.digest, block)
