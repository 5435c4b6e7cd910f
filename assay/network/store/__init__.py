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
