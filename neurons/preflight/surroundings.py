"""Opens everything that a program would open, for checks."""

from collections.abc import Sequence
from pathlib import Path

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.discovery import make_mirrors
from assay.artifacts.steps.config import StepConfig
from assay.inference.placement import Placement
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.wallets import require_keys
from assay.network.store.base import ObjectStore
from assay.network.store.opening import ReadableStores
from assay.neurons.preflight.check_results import OpenAttempt
from assay.neurons.preflight.examination import PreflightInputs
from assay.neurons.program.neuron import open_pool
from assay.session.resources import Account, open_own_store
from assay.session.session import Session
from assay.settings.learning import make_choice, make_learning_here
from assay.settings.placing import open_placement
from assay.settings.sections import ComputeSettings


def open_surroundings(
    session: Session,
    role: str,
    opening: OpenAttempt,
    chain: SubtensorChain | None,
    *,
    is_clock_right: bool,
) -> PreflightInputs:
    """Open the surroundings of a role's program. `chain` None: it is not checked."""
    settings = session.settings
    folder: Path = getattr(settings, role).dir
    account = opening.open(
        "wallet", "fix what it says, or name another wallet", lambda: _open_own(session)
    )
    if chain is not None and account is not None:
        chain.add_wallet(account.wallet)
    own_store, stores = open_role_stores(session, role, opening)
    remedy = "fix the store if the message names one, or ask the subnet's owner"
    rules = opening.open("rules", remedy, lambda: session.parameters, chain, stores)
    remedy = "name relays with --beacon"
    beacons = opening.open("relays", remedy, lambda: session.beacons, rules)
    remedy = "name a device of this machine with --device"
    devices = settings.validator.devices if role == "validator" else ()
    here = () if settings.cluster.address else devices  # a cluster's are on other machines
    placement = opening.open("device", remedy, lambda: _open_placement(settings.compute, here))
    checkpoints = None
    if chain is not None and stores is not None and rules is not None:
        remedy = "name stores that can be opened under [store] mirrors"
        mirrors = opening.open("mirrors", remedy, lambda: session.own_mirrors)
        fetching = DownloadSettings(make_mirrors(chain, rules, stores.open, mirrors or ()))
        checkpoints = CheckpointFolder(folder / "models", fetching, placement=placement)
    config = None
    if role == "trainer":
        config = opening.open(
            "training",
            "change it under [trainer]",
            lambda: StepConfig(
                make_learning_here(settings.trainer, settings.compute.device),
                make_choice(settings.trainer),
            ),
        )
    return PreflightInputs(
        role=role,
        folder=folder,
        groups_per_step=settings.miner.groups_per_step,
        learning=None if config is None else config.learning,
        proposal_tries=0 if config is None else config.choice.proposal_tries,
        hotkey=None if account is None else account.hotkey,
        coldkey=None if account is None else account.coldkey,
        chain=chain,
        parameters=rules,
        followed=None if rules is None else session.followed,
        beacons=beacons,
        relays=None if beacons is None else beacons.check,
        store=None if own_store is None else own_store[0],
        shown=None if own_store is None or stores is None else stores.get(own_store[1]),
        public=lambda: (
            None if own_store is None or stores is None else stores.get_as_stranger(own_store[1])
        ),
        checkpoints=checkpoints,
        placement=placement,
        open_pool=(lambda: open_pool(settings)) if devices else None,
        is_clock_right=is_clock_right,
    )


def _open_own(session: Session) -> Account:
    """The wallet. Raises ChainError: it does not exist, or a program could not unlock its
    hotkey."""
    wallet = session.settings.wallet
    require_keys(wallet.name, wallet.hotkey, wallet.path, "hotkey")
    return session.account


def _open_placement(compute: ComputeSettings, workers: Sequence[str]) -> Placement:
    """The placement of the program's models; with workers, the first one's, with as many threads.
    Raises DeviceError: one of the devices does not exist."""
    if not workers:
        return open_placement(compute)
    threads = compute.threads or 1
    placements = [
        open_placement(compute.model_copy(update={"device": device, "threads": threads}))
        for device in workers
    ]
    return placements[0]


def open_role_stores(
    session: Session, role: str, opening: OpenAttempt
) -> tuple[tuple[ObjectStore, str] | None, ReadableStores | None]:
    """The store for writing with its locator, if the role has one, and the readable stores. These
    leave out one's own if it cannot be opened, so that it does not hide the stores of others."""
    remedy = "fix what the message says, or name another store with --store or --readable"
    settings, own_store = session.settings, None
    if role != "validator" or settings.store.locator is not None:
        own_store = opening.open("store", remedy, lambda: open_own_store(settings))
        if own_store is None:
            others = settings.store.model_copy(update={"locator": None})
            session.settings = settings.model_copy(update={"store": others})
    return own_store, opening.open("store", remedy, lambda: session.stores)
