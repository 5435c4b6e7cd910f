"""The seal of a bundle: how it is made, and how its records are opened.

Light: `assay status --record` reads a bundle's records without the dependencies of an audit, and
`assay audit --offline` refuses other folders before it loads them.
"""

from pathlib import Path

from assay.judge.seal import ABOUT_FILE as ABOUT_FILE
from assay.judge.seal import FILE_BYTES as FILE_BYTES
from assay.judge.seal import STORE_FOLDER as STORE_FOLDER
from assay.judge.seal import SUMS_FILE as SUMS_FILE
from assay.judge.seal import BundleError as BundleError
from assay.judge.seal import SealError as SealError
from assay.judge.seal import digest_file, format_sums, list_files
from assay.judge.seal import find_broken_seals as find_broken_seals
from assay.judge.seal import read_sums as read_sums
from assay.judge.seal import require_bundle as require_bundle
from assay.judge.seal import require_sealed as require_sealed
from assay.network.files import write_file
from assay.network.store import ObjectStore, open_folder


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
