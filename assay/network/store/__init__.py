"""Object stores: bytes under a name, read whole or by range. They hold submissions and checkpoints.

A store is found by its locator, a URL of at most 80 bytes, which a commitment carries and everybody
may read: a folder of this machine, or a place on the web. An operator may write to a bucket that
others read at that place on the web. Credentials for writing to it are never in a locator.

Every failure of a store is a `StoreError`. A missing object is not an error: the caller decides
what it means. Nothing here looks into the bytes. Start at `base.py` (the port). Then read
`opening.py` (which locators are opened), `folder.py`, `web.py` and
`bucket.py`. `http_client.py` is under the latter two. `locators.py` parses locators, and
`addresses.py` says which hosts they may lead to.
"""

from typing import TYPE_CHECKING

from assay.protocol.lazy_names import load_lazily

if TYPE_CHECKING:
    from assay.network.store.base import LIST_MAX as LIST_MAX
    from assay.network.store.base import LOCATOR_MAX as LOCATOR_MAX
    from assay.network.store.base import NAME_MAX as NAME_MAX
    from assay.network.store.base import ObjectSource as ObjectSource
    from assay.network.store.base import ObjectStore as ObjectStore
    from assay.network.store.base import StoreError as StoreError
    from assay.network.store.bucket import BucketStore as BucketStore
    from assay.network.store.bucket import open_bucket as open_bucket
    from assay.network.store.bucket_service import BucketAddress as BucketAddress
    from assay.network.store.bucket_service import read_bucket as read_bucket
    from assay.network.store.deadlines import sparing as sparing
    from assay.network.store.deadlines import within as within
    from assay.network.store.folder import FolderStore as FolderStore
    from assay.network.store.folder import open_file as open_file
    from assay.network.store.folder import open_folder as open_folder
    from assay.network.store.http_client import HttpClient as HttpClient
    from assay.network.store.http_client import HttpTimeouts as HttpTimeouts
    from assay.network.store.locators import WebLocator as WebLocator
    from assay.network.store.locators import read_locator as read_locator
    from assay.network.store.opening import ReadableStores as ReadableStores
    from assay.network.store.opening import open_store as open_store
    from assay.network.store.s3_signing import Credentials as Credentials
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "base": (
                "LIST_MAX",
                "LOCATOR_MAX",
                "NAME_MAX",
                "ObjectSource",
                "ObjectStore",
                "StoreError",
            ),
            "bucket": ("BucketStore", "open_bucket"),
            "bucket_service": ("BucketAddress", "read_bucket"),
            "deadlines": ("sparing", "within"),
            "folder": ("FolderStore", "open_file", "open_folder"),
            "http_client": ("HttpClient", "HttpTimeouts"),
            "locators": ("WebLocator", "read_locator"),
            "opening": ("ReadableStores", "open_store"),
            "s3_signing": ("Credentials",),
        },
    )
