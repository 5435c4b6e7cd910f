"""A session on a network: from settings to chain, parameters, beacons and stores.

Every command that needs more than a chain opens these here, so a setting means the same in all.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.artifacts.discovery import make_mirrors
from assay.artifacts.submissions.mirror_list import MirrorList
from assay.network.beacon import HttpBeacons
from assay.network.chain.subtensor import SubtensorChain
from assay.network.store.base import ObjectStore
from assay.network.store.opening import ReadableStores, open_store
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import Parameters
from assay.session.parameter_follower import ParameterFollower
from assay.session.resources import Account, now_ms, open_account, open_chain, open_stores
from assay.settings.sections import Settings


class Session:
    """A session on a network. Each part is opened when it is first read, and closed with the
    session. A part that needs another one opens that, too.

    Args:
        folder: keeps what was read of chain, beacons, parameters and checkpoints.
        signing: the chain gets the wallet.
        interactive: a person waits: nothing is fetched in the background, and retries are short.

    Attributes:
        settings, folder: as given.
    """

    def __init__(
        self, settings: Settings, folder: Path, *, signing: bool = False, interactive: bool = True
    ) -> None:
        self.settings = settings
        self.folder = folder
        self._signing, self._interactive = signing, interactive
        self._opened = ExitStack()

    def close(self) -> None:
        """Close everything that was opened, newest first."""
        self._opened.close()

    @cached_property
    def account(self) -> Account:
        """The wallet that the settings name, see `open_account`."""
        return open_account(self.settings)

    @cached_property
    def chain(self) -> SubtensorChain:
        """The subnet that the settings name, see `open_chain`."""
        account = self.account if self._signing else None
        folder = self.folder / "chain"
        opening = open_chain(self.settings.chain, folder, interactive=self._interactive)
        chain = self._opened.enter_context(opening)
        if account is not None:
            chain.add_wallet(account.wallet)
        return chain

    @cached_property
    def stores(self) -> ReadableStores:
        """The stores that may be read, see `open_stores`."""
        return open_stores(self.settings.store)

    @cached_property
    def followed(self) -> ParameterFollower:
        """The owner's parameters of every window. Once fetched, they are available even while the
        owner's store is not.

        Raises:
            DiscoveryError: says exactly what is missing. ChainError: the chain cannot be read.
        """
        return ParameterFollower(self.chain, self.stores.open, self.folder / "rules")

    @property
    def history(self) -> ParameterHistory:
        """The parameters by window, as far as they have been looked up."""
        return self.followed.history

    @property
    def parameters(self) -> Parameters:
        """The parameters of the current window."""
        return self.history.get_at(self.chain.get_head())

    @cached_property
    def beacons(self) -> HttpBeacons:
        """The beacon that the parameters name, from relays and from the chain's own storage."""
        beacons = HttpBeacons(
            self.parameters.beacon,
            self.settings.beacon.endpoints,
            self.folder / "beacons",
            now_ms,
            pulses=self.chain.get_pulse,
        )
        self._opened.callback(beacons.close)
        return beacons

    @cached_property
    def own_mirrors(self) -> list[ObjectStore]:
        """The mirrors that the operator named."""
        return [open_store(locator) for locator in self.settings.store.mirrors]

    @cached_property
    def checkpoint_mirrors(self) -> Callable[[], Iterator[ObjectStore]]:
        """The sources of checkpoints under the current parameters, see `make_mirrors`."""
        own_mirrors = self.own_mirrors
        return lambda: make_mirrors(self.chain, self.parameters, self.stores.open, own_mirrors)()

    @cached_property
    def submission_mirrors(self) -> MirrorList:
        """The mirrors of others' submissions, besides their own stores. They leave out the
        session's own account, if it has one."""
        own_hotkey = self.account.hotkey if self._signing else bytes(32)
        return MirrorList(self.chain, self.stores.get, self.own_mirrors, own_hotkey)


@contextmanager
def open_session(settings: Settings) -> Iterator[Session]:
    """A session for a command, which opens the parts that it reads. Nothing is kept afterwards."""
    with (
        TemporaryDirectory(prefix="assay-") as folder,
        closing(Session(settings, Path(folder))) as session,
    ):
        yield session
