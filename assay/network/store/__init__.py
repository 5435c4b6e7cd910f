"""Object stores: bytes under a name, read whole or by range. They hold submissions and checkpoints.

A store is found by its locator, a URL of at most 80 bytes, which a commitment carries and everybody
may read: a folder of this machine, or a place on the web. An operator may write to a bucket that
others read at that place on the web. Credentials for writing to it are never in a locator.

Every failure of a store is a `StoreError`. A missing object is not an error: the caller decides
what it means. Nothing here looks into the bytes. Start at `object_store.py` (the port). Then read
`readable_stores.py` (which locators are opened), `folder_store.py`, `web_store.py` and
`bucket_store.py`. `http_client.py` is under the latter two. `locators.py` parses locators, and
`addresses.py` says which hosts they may lead to.
"""

from typing import TYPE_CHECKING

from assay.protocol.lazy_door import open_lazily

if TYPE_CHECKING:
    from assay.network.store.base import (
        LIST_MAX,
        LOCATOR_MAX,
        NAME_MAX,
        ObjectSource,
        ObjectStore,
        StoreError,
    )
    from assay.network.store.bucket import BucketStore, open_bucket
    from assay.network.store.bucket_service import BucketAddress, read_bucket
    from assay.network.store.deadlines import sparing, within
    from assay.network.store.folder import FolderStore, open_file, open_folder
    from assay.network.store.http_client import HttpClient, HttpTimeouts
    from assay.network.store.locators import WebLocator, read_locator
    from assay.network.store.opening import ReadableStores, open_store
    from assay.network.store.s3_signing import Credentials

__all__ = [
    "LIST_MAX",
    "LOCATOR_MAX",
    "NAME_MAX",
    "BucketAddress",
    "BucketStore",
    "Credentials",
    "FolderStore",
    "HttpClient",
    "HttpTimeouts",
    "ObjectSource",
    "ObjectStore",
    "ReadableStores",
    "StoreError",
    "WebLocator",
    "open_bucket",
    "open_file",
    "open_folder",
    "open_store",
    "read_bucket",
    "read_locator",
    "sparing",
    "within",
]

if not TYPE_CHECKING:
    __getattr__ = open_lazily(__name__)
