"""A file on its way into a store, with a line now and then for who waits."""

import time
from collections.abc import Callable, Iterator

from assay.network.store import ObjectStore

#: A file above this goes up in parts of this size, bytes; seconds between two lines.
_PART_BYTES, _LINE_S = 8 << 20, 5.0


def upload(store: ObjectStore, name: str, data: bytes, tell: Callable[[str], None]) -> None:
    """Writes a file whole; a reader sees all of it or nothing.

    Raises:
        StoreError: the store cannot be written.
    """
    if len(data) <= _PART_BYTES:
        store.put(name, data)
        return
    begun = said = time.monotonic()

    def cut() -> Iterator[bytes]:
        nonlocal said
        for start in range(0, len(data), _PART_BYTES):
            yield data[start : start + _PART_BYTES]
            if time.monotonic() - said > _LINE_S:
                said = time.monotonic()
                done = min(len(data), start + _PART_BYTES)
                tell(f"{done / 1e6:.1f} of {len(data) / 1e6:.1f} MB of {name} are on their way")

    store.put_parts(name, cut())
    seconds = time.monotonic() - begun
    if seconds > _LINE_S:
        tell(f"{name} is up, {len(data) / 1e6:.1f} MB in {seconds:.0f} s")
