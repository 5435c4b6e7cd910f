"""What a folder and a bucket have in common: objects that obstore reads and lists."""

import obstore
from obstore.store import LocalStore, S3Store

from assay.network.store.base import LIST_MAX, StoreError


def read_whole(store: LocalStore | S3Store, name: str, limit: int) -> bytes | None:
    """An object's bytes, all of one version; None: it is not there.

    Raises:
        StoreError: it has more than `limit` bytes.
        OSError, BaseError: obstore's, the store cannot be read.
    """
    try:
        result = obstore.get(store, name)
        size = result.meta["size"]
        if size > limit:
            raise StoreError(f"{name} has {size} bytes; at most {limit} are read")
        return bytes(result.bytes())
    except FileNotFoundError:
        return None


def list_names(
    store: LocalStore | S3Store, folder: str, some: int | None = None
) -> tuple[str, ...]:
    """Names below a folder, or all of them, sorted.

    Args:
        some: so many are enough.

    Raises:
        StoreError: all are wanted, and there are more than `LIST_MAX`.
        OSError, BaseError: obstore's, the store cannot be read.
    """
    names: list[str] = []
    for chunk in obstore.list(store, prefix=folder or None):
        names.extend(entry["path"] for entry in chunk)
        if some is not None and len(names) >= some:
            return tuple(sorted(names[:some]))
        if len(names) > LIST_MAX:
            raise StoreError(f"more than {LIST_MAX} objects below {folder!r}: list less")
    return tuple(sorted(names))
