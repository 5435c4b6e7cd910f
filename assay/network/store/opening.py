"""Opens stores from locators, and decides which of the strangers' locators may be opened here.

https at a public address always file, http, any other address at or below a locator that the
operator named
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from assay.network.store.base import ObjectStore, StoreError
from assay.network.store.folder import FolderStore, open_folder
from assay.network.store.http_client import HttpClient
from assay.network.store.locators import FolderLocator, WebLocator, read_locator
from assay.network.store.web import WebStore


@cache
def get_client(trusted: bool) -> HttpClient:
    """The program's one client, so that connections are reused."""
    return HttpClient(trusted)


def open_store(locator: str, client: HttpClient | None = None) -> ObjectStore:
    """The store that the operator names by its locator. A folder must exist. Without `client`, it
    is read from the web at any address."""
    place = read_locator(locator)
    if isinstance(place, WebLocator):
        return WebStore(place, client or get_client(True))
    return _open_existing(place)


def _open_existing(place: FolderLocator) -> FolderStore:
    path = place.path
    try:
        exists = path.is_dir()
    except OSError as error:
        raise StoreError(f"the store folder {str(path)!r} cannot be looked up: {error}") from error
    if not exists:
        raise StoreError(f"the store folder {str(path)!r} does not exist: create it, or correct it")
    return open_folder(path)


class ReadableStores:
    """Decides which of the strangers' locators are opened here; see this module's table.

    Args:
        roots: locators that this program's operator named.
        strangers, own: clients for web locators that anybody named, and that the operator named;
            None: the program's own clients.
        home: a locator of the operator's own, and the client at or below it; None: as `own`.

    Raises:
        StoreError: a root is not a store.
    """

    def __init__(
        self,
        roots: Sequence[str],
        strangers: HttpClient | None = None,
        own: HttpClient | None = None,
        home: tuple[str, HttpClient] | None = None,
    ) -> None:
        self._strangers, self._own = strangers, own
        self._home = None if home is None else (read_locator(home[0]), home[1])
        places = [read_locator(root) for root in roots]
        self._web = [place for place in places if isinstance(place, WebLocator)]
        self._folders = [_open_existing(p).root for p in places if isinstance(p, FolderLocator)]

    def get(self, locator: str) -> ObjectStore | None:
        """The store of a locator; None if it may not be read from here."""
        place = read_locator(locator)
        if isinstance(place, FolderLocator):
            # a stranger must not learn which other folders this machine has
            return _open_existing(place) if self._is_allowed(place.path) else None
        if self._home is not None:
            root, client = self._home
            if isinstance(root, WebLocator) and place.is_below(root):
                return WebStore(place, client)
        if any(place.is_below(root) for root in self._web):
            return WebStore(place, self._own or get_client(True))
        if place.scheme != "https":
            return None
        return WebStore(place, self._strangers or get_client(False))

    def _is_allowed(self, path: Path) -> bool:
        if not self._folders:
            return False
        try:
            real = path.resolve()
        except (OSError, RuntimeError):  # RuntimeError: links that form a circle
            return False
        return any(real.is_relative_to(root) for root in self._folders)

    def get_as_stranger(self, locator: str) -> ObjectStore | None:
        """A locator's place on the web, read as a stranger would; None: it is a folder."""
        place = read_locator(locator)
        if isinstance(place, FolderLocator):
            return None
        if place.scheme != "https":
            raise StoreError(f"only those who list {place.url} with --readable read it: use https")
        return WebStore(place, self._strangers or get_client(False))

    def open(self, locator: str) -> ObjectStore:
        """The same as `get`, but raises an error if the store may not be read."""
        store = self.get(locator)
        if store is None:
            raise StoreError(
                f"{locator!r} is not among the stores that may be read here: list it, or a folder "
                "above it, with --readable"
            )
        return store
