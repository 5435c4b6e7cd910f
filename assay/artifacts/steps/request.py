"""A step as a person names it: by its record's file, or by its checkpoint in stores."""

from dataclasses import dataclass
from pathlib import Path

from assay.artifacts.steps.folder import Step, StepError, read_step
from assay.artifacts.steps.returns import RETURN_PREFIX, Return, read_return
from assay.artifacts.steps.store import fetch_step
from assay.network.store.base import ObjectStore
from assay.network.store.opening import open_store
from assay.protocol.encoding import EncodingError, read_hex
from assay.protocol.hashing import DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class StepRequest:
    """Which step, and where its files are."""

    record: str  # its record's file; with `stores`, the digest of the checkpoint that it made
    models: Path | None = None  # folder of checkpoints by digest; None: beside the record's folder
    stores: tuple[str, ...] = ()  # the step is fetched from them
    folder: Path = Path("assay-steps")  # for what is fetched

    def open(self) -> tuple[Step, Path]:
        """The step, fetched if stores are named, and the folder of checkpoints. Raises
        OperatorError: the step is missing, or damaged, or it is a return."""
        made, models = self.open_made()
        if isinstance(made, Return):
            raise StepError(
                f"checkpoint {made.record.number} is a return to a milestone: nothing was learned"
            )
        return made, models

    def open_made(self) -> tuple[Step | Return, Path]:
        """The same where it may be a return."""
        path = self._fetch() if self.stores else Path(self.record)
        models = self.models or path.absolute().parent.parent / "models"
        is_return = path.name.startswith(RETURN_PREFIX)
        return (read_return(path) if is_return else read_step(path)), models

    def open_stores(self) -> list[ObjectStore]:
        """The stores that are named."""
        return [open_store(store) for store in self.stores]

    def _fetch(self) -> Path:
        try:
            digest = read_hex(self.record)
        except EncodingError:
            digest = b""
        if len(digest) != DIGEST_BYTES:
            raise StepError(
                f"{self.record[:80]} is not a checkpoint's digest: 64 hex digits, with --store"
            )
        return fetch_step(self.open_stores(), digest, self.folder)
