"""The seal of a bundle: how it is made, and how its records are opened.

Light: `assay status --record` reads a bundle's records without the dependencies of an audit, and
`assay audit --offline` refuses other folders before it loads them.
"""

from pathlib import Path

from assay.judge.seal import (
    STORE_FOLDER,
    SUMS_FILE,
    BundleError,
    digest_file,
    format_sums,
    list_files,
    require_sealed,
)
from assay.network.files import write_file
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder


def seal_folder(folder: Path) -> None:
    """Write the list of all files in a folder."""
    sums = {name: digest_file(folder / name) for name in sorted(list_files(folder))}
    write_file(folder / SUMS_FILE, format_sums(sums))


def open_records(folder: Path) -> ObjectStore:
    """Open the records of a bundle, or of any store, as another reader's copy. Raises BundleError:
    it is not a folder. SealError: it is a bundle and differs from its seal."""
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a folder: name a bundle or a store")
    if (folder / SUMS_FILE).is_file():
        require_sealed(folder)
        return open_folder(folder / STORE_FOLDER)
    return open_folder(folder)
