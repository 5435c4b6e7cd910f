"""Joining a network: from settings to everything a neuron works with, opened in order."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from assay.artifacts.checkpoints.checkpoint_folder import (
    CHECKPOINTS_KEPT,
    RETRY_MAX_S,
    CheckpointFolder,
    DownloadSettings,
)
from assay.artifacts.discovery import (
    DiscoveryError,
    fetch_parameters,
    find_mismatch,
    find_parameters,
    has_parameters_changed,
    make_mirrors,
    publish_parameters,
    read_announcement,
)
from assay.artifacts.parquet.parquet_worker import ParquetWorker
from assay.artifacts.store_objects import UnavailableError
from assay.artifacts.submissions.mirror_list import MirrorList
from assay.artifacts.submissions.submission_judge import JudgeSources
from assay.environments import open_environment
from assay.network import ReadableStores, open_folder, open_store
from assay.network.beacon import HttpBeacons
from assay.network.chain import ForgottenError, SubtensorChain
from assay.neurons.program.logs import ORIGIN
from assay.neurons.program.program_loop import ParametersChangedError, claim_folder
from assay.neurons.program.program_status import Sight
from assay.neurons.session.resources import (
    Account,
    measure_stake,
    now_ms,
    open_account,
    open_chain,
    open_stores,
)
from assay.neurons.session.window_reader import get_checkpoint_digest
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import Settings
from assay.protocol import Parameters, Phase, Tag, encode_ss58, parse_commitment
from assay.protocol.parameters import Timing
from assay.protocol.window import compute_block, compute_window

logger = logging.getLogger("assay")

#: Looks a window at what the trainer has published: each reads state that is kept for a while.
_LOOKS = 6
#: Tries a window, at least, to have a checkpoint that nobody had.
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Membership:
    """A neuron's place in a network."""

    folder: Path
    account: Account
    chain: SubtensorChain
    parameters: Parameters
    sources: JudgeSources
    beacons: HttpBeacons
    stores: ReadableStores


@contextmanager
def join(
    settings: Settings, folder: Path, kind: str, *, looking: bool = False
) -> Iterator[Membership]:
    """Everything a neuron needs, from the chain down to its own folder, closed again afterwards.

    Args:
        kind: which program: its folder serves no other.
        looking: beside a program that may hold the folder, and without its patience.

    Raises:
        OperatorError: says what is missing, and what to do.
    """
    with ExitStack() as stack:
        if not looking:
            stack.enter_context(claim_folder(folder, kind))
        account = open_account(settings)
        ORIGIN.hotkey = encode_ss58(account.hotkey)
        chain = stack.enter_context(open_chain(settings.chain, folder / "chain", hasty=looking))
        chain.add_wallet(account.wallet)
        stores = open_stores(settings)
        parameters = _find_parameters(chain, stores, folder)
        beacons = HttpBeacons(
            parameters.beacon,
            settings.beacon.endpoints,
            folder / "beacons",
            now_ms,
            pulses=chain.get_pulse,
        )
        stack.callback(beacons.close)
        own = [open_store(locator) for locator in settings.store.mirrors]
        fetching = DownloadSettings(
            make_mirrors(chain, parameters, stores.open, own),
            longest_s=find_longest_retry(parameters.timing),
            in_background=not looking,
        )
        checkpoints = CheckpointFolder(folder / "models", fetching, keep=CHECKPOINTS_KEPT)
        stack.callback(checkpoints.close)
        worker = stack.enter_context(ParquetWorker())
        logger.info(
            "subnet %d, parameters %s…, %s %s",
            chain.netuid,
            parameters.digest.hex()[:16],
            kind,
            encode_ss58(account.hotkey),
            extra={"event": "joined"},
        )
        mirrors = MirrorList(chain, stores.get, own, account.hotkey)
        sources = JudgeSources(chain, beacons, checkpoints, stores, worker, mirrors)
        yield Membership(folder, account, chain, parameters, sources, beacons, stores)


def find_longest_retry(timing: Timing) -> float:
    """Seconds until a checkpoint that nobody had is asked for again, at most: there are several
    tries a window, however short it is."""
    return min(RETRY_MAX_S, timing.window_blocks * timing.slot_ms / 1_000 / _TRIES)


def _find_parameters(chain: SubtensorChain, stores: ReadableStores, folder: Path) -> Parameters:
    """The owner's parameters; once fetched they are had even while the owner's store is away."""
    kept = open_folder(folder / "rules")
    try:
        parameters = fetch_parameters(kept, read_announcement(chain).digest)
    except UnavailableError:
        parameters = find_parameters(chain, stores.open)
        publish_parameters(kept, parameters)
    fault = find_mismatch(chain, parameters)
    if fault is not None:  # an owner can name in one slot what was published for another
        raise DiscoveryError(f"the owner of subnet {chain.netuid} has published {fault}")
    try:
        open_environment(parameters.environment)
    except ValueError as error:
        raise DiscoveryError(f"subnet {chain.netuid} asks what is not here: {error}") from None
    return parameters


class Standing:
    """Looks once a window whether it makes sense to go on, and more often for a new checkpoint.

    Args:
        needs_permit: for a validator, whose weights nobody counts without one.

    Attributes:
        sight: what was seen of the chain.
    """

    def __init__(self, member: Membership, *, needs_permit: bool = False) -> None:
        self.sight = Sight()
        ORIGIN.sight, ORIGIN.timing = self.sight, member.parameters.timing
        self._member = member
        self._needs_permit = needs_permit
        self._looked: int | None = None
        self._fetched = -1
        self._lack: str | None = None

    def require_seat(self) -> None:
        """Says at the start what would otherwise show after a window.

        Raises:
            ConfigError: the hotkey holds no uid.
        """
        chain, hotkey = self._member.chain, self._member.account.hotkey
        if hotkey not in chain.get_members(chain.get_head()):
            raise ConfigError(
                f"{encode_ss58(hotkey)} holds no uid of subnet {chain.netuid}: `assay register`"
            )
        if self._needs_permit:
            own, others = measure_stake(chain, hotkey)
            logger.info(
                "%.1f α on this hotkey, %.1f α on others with a permit: what less than half of all "
                "stake votes for is clipped",
                own / 1e9,
                others / 1e9,
                extra={"event": "stake_weighed"},
            )

    def check(self) -> str | None:
        """What the operator should mend; None while the hotkey stands as it should.

        Raises:
            ParametersChangedError: the network is gone.
            ChainError: the chain cannot be read.
        """
        member, chain, sight = self._member, self._member.chain, self.sight
        head = chain.get_head()
        if sight.head is None or head != sight.head.number:
            sight.head, sight.best = chain.get_block(head), chain.get_best()
        timing = member.parameters.timing
        window = compute_window(timing, head)
        if window != self._looked:
            changed = has_parameters_changed(chain, member.parameters)
            if changed is not None:
                raise ParametersChangedError(changed)
            # the state at this block is read, and kept, in any case
            block = compute_block(timing, window, Phase.CHALLENGE)
            self._lack = self._find_lack(block, head)
            with suppress(ForgottenError):  # of a block a while ago: the next window's is not
                sight.in_force = get_checkpoint_digest(chain, member.parameters, window)
            self._looked = window
        if head >= self._fetched + max(1, timing.window_blocks // _LOOKS):
            self._fetch_ahead(head)
            self._fetched = head
        return self._lack

    def _fetch_ahead(self, head: int) -> None:
        """Begins to fetch what the trainer has published, before a window begins with it."""
        member = self._member
        slots = member.chain.get_commitments(head)
        said = parse_commitment(slots.get(member.parameters.identity.trainer, b""))
        if said is not None and said.tag is Tag.CHECKPOINT:
            self._note_published(said.digest, said.number)
            member.sources.checkpoints.prefetch(said.digest)

    def _note_published(self, digest: bytes, number: int) -> None:
        if self.sight.published != (digest, number):
            self.sight.published = digest, number
            self.sight.published_since = time.time()

    def _find_lack(self, block: int, head: int) -> str | None:
        chain, hotkey = self._member.chain, self._member.account.hotkey
        name = encode_ss58(hotkey)
        if hotkey not in chain.get_members(block):
            return (
                f"{name} held no uid of subnet {chain.netuid} when this window began: `assay "
                "register`, or wait a window if that was done just now"
            )
        if self._needs_permit and not any(
            row.permit for row in chain.get_metagraph(head) if row.hotkey == hotkey
        ):
            return f"{name} has no validator permit: `assay stake`, then wait for an epoch"
        return None
