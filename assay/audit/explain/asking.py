"""A question about a hotkey's window, answered from a folder or from the network."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from assay.artifacts.records.run_folder import RunFolder
from assay.audit.explain.explanation import Explanation, explain
from assay.audit.explain.from_folder import find_hotkey, gather_from_folder
from assay.audit.explain.from_network import WindowQuery, gather_from_network
from assay.audit.explain.reproduction import (
    ExplainError,
    Reproduction,
    make_reproduction,
    write_material,
)
from assay.audit.sources import FetchedOutlines
from assay.network.chain.errors import ChainError
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.network.store.opening import open_store
from assay.session.resources import open_account
from assay.session.session import open_session
from assay.settings.loading import parse_hotkey
from assay.settings.placing import open_placement
from assay.settings.sections import Settings


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """The question.

    Attributes:
        hotkey: SS58, or a miner's name in a demo's folder; None: the wallet's.
        folder: of a demo, a validator or a miner; None: the miner's folder in the settings.
        model: a checkpoint's folder, or a folder of checkpoints.
        validator: SS58: whose record; None: any that is found.
        records: locator, or folder, of its records; None: the one that it names on chain.
        out: folder for context and file.
    """

    window: int
    hotkey: str | None = None
    folder: Path | None = None
    model: Path | None = None
    validator: str | None = None
    records: str | None = None
    out: Path | None = None


def explain_window(request: ExplainRequest, settings: Settings) -> tuple[Explanation, Reproduction]:
    """Explain a window: the explanation, and how to see it for oneself. `settings`: those of the
    network, unless a folder has everything. Raises ExplainError: nothing is known of it."""
    window, folder, model = request.window, request.folder, request.model
    placement = open_placement(settings.compute)
    with ExitStack() as stack:
        named = request.validator
        whose = None if named is None else parse_hotkey(named, "--validator")
        if folder is not None and RunFolder(folder).has_contexts:
            if request.hotkey is None:
                raise ExplainError("whose window? name a hotkey with --hotkey")
            miner = find_hotkey(request.hotkey, folder)
            facts, material = gather_from_folder(folder, miner, window, model, whose, placement)
        else:
            hotkey = request.hotkey
            miner = _find_own_hotkey(settings) if hotkey is None else find_hotkey(hotkey)
            store = None if request.records is None else _open_records(request.records)
            home = folder or settings.miner.dir
            asked = WindowQuery(miner, window, home, model, whose, store, placement)
            session = stack.enter_context(open_session(settings))
            outlines = FetchedOutlines(session.folder / "outlines", session.checkpoint_mirrors)
            facts, material = gather_from_network(session, outlines, asked)
        if request.out is not None:
            material = write_material(request.out, facts, material)
        explanation = explain(facts)
        return explanation, make_reproduction(facts, material, explanation.reason)


def _find_own_hotkey(settings: Settings) -> bytes:
    try:
        return open_account(settings).hotkey
    except ChainError as error:
        raise ExplainError(
            f"whose window? name a hotkey with --hotkey, or its wallet with --wallet ({error})"
        ) from None


def _open_records(place: str) -> ObjectStore:
    """The store at a locator, or a folder of this machine."""
    if "://" in place:
        return open_store(place)
    if not Path(place).is_dir():
        raise ExplainError(f"--records {place}: there is no such folder")
    return open_folder(Path(place))
