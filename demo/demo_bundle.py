"""The bundle that a demo leaves for `assay audit --offline`, made as anyone would make one."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.artifacts.parquet import ParquetWorker
from assay.artifacts.ports import BeaconSource
from assay.audit.bundle_export import export_bundle
from assay.audit.findings import AuditReport
from assay.audit.ports import Public, PublicChain
from assay.audit.sources import FetchedOutlines, StoredSubmissions
from assay.inference.folder import CheckpointError, read_small_file
from assay.network.store import ObjectStore
from assay.protocol import Parameters

#: Its folder below the demo's.
BUNDLE_FOLDER = "bundle"


@dataclass(frozen=True, slots=True)
class ModelFolders:
    """Folders of checkpoints by digest, as a store has them."""

    root: Path

    def get(self, name: str, limit: int) -> bytes | None:
        """A checkpoint's small file; None: there is none."""
        try:
            return read_small_file(self.root, name.removeprefix("checkpoints/"), limit)
        except CheckpointError:
            return None


def leave_bundle(
    out: Path,
    chain: PublicChain,
    beacons: BeaconSource,
    parameters: Parameters,
    validator: bytes,
    windows: range,
    stores: dict[str, ObjectStore],
    records: ObjectStore,
) -> AuditReport:
    """Audits a demo's record without a model and leaves all that was read in `out/bundle`."""
    with TemporaryDirectory(prefix="assay-") as scratch, ParquetWorker() as worker:
        mirrors = [ModelFolders(out / "models")]
        public = Public(
            chain=chain,
            beacons=beacons,
            parameters=parameters,
            records=records,
            submissions=StoredSubmissions(stores, worker),
            outlines=FetchedOutlines(Path(scratch), lambda: mirrors),
            copies={},
        )
        recorded = _find_recorded(records, windows)
        folder = out / BUNDLE_FOLDER
        return export_bundle(
            public, validator, recorded, folder, Path(scratch), mirrors, lambda *_: None
        )


def _find_recorded(records: ObjectStore, windows: range) -> range:
    """The demo's windows, and those before them that its settlements name: the validator abstained
    from them, and left a record that says so."""
    found = [
        int(name.rpartition("/window-")[2].removesuffix(".record"))
        for name in records.list()
        if name.endswith(".record") and "/window-" in name
    ]
    return range(min(found, default=windows.start), windows.stop)
