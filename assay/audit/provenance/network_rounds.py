"""Derives rounds of the network that the settings name.

audit = audit_network_round(load_settings(), RoundRequest())
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.audit.provenance.round_audit import RoundAudit, RoundError, RoundSources, audit_round
from assay.audit.provenance.round_watch import RoundWatch
from assay.inference.folder import CheckpointError
from assay.network.chain.errors import ChainError
from assay.network.store.base import StoreError
from assay.network.store.opening import open_store
from assay.protocol.context import Context
from assay.protocol.encoding import EncodingError, read_hex
from assay.protocol.hashing import DIGEST_BYTES
from assay.rounds.in_force import get_in_force_at
from assay.session.session import Session, open_session
from assay.session.window_reader import get_challenge, get_context
from assay.settings.loading import ConfigError, make_cards_repeat
from assay.settings.sections import Settings


@dataclass(frozen=True, slots=True)
class RoundRequest:
    """Which round, and how much of it is repeated."""

    checkpoint: str | None = None  # digest of a merged checkpoint; None: the one in force
    steps: int = 1  # of each child
    stores: Sequence[str] = ()  # asked first
    folder: Path = Path("assay-rounds")  # for downloads and findings


def audit_network_round(
    settings: Settings, request: RoundRequest, say: Callable[[str], None] = lambda line: None
) -> RoundAudit:
    """Derive a round again. Raises OperatorError: it cannot be read."""
    with _open_rounds(settings, request) as (session, sources):
        return audit_round(sources, _read_digest(session, request.checkpoint), request.steps, say)


def follow_network_rounds(
    settings: Settings,
    request: RoundRequest,
    warn: Callable[[str], None],
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[RoundAudit]:
    """Derive each round as it ends, without an end: it looks after each block. An unavailable input
    is retried, and `warn` is called with it once."""
    last_error = ""
    with _open_rounds(settings, request) as (session, sources):
        watch = RoundWatch(sources, request.steps, say)
        while True:
            try:
                audit = watch.look()
            except (RoundError, ChainError, StoreError, CheckpointError) as error:
                if str(error) != last_error:
                    warn(last_error := str(error))
            else:
                last_error = ""
                if audit is not None:
                    yield audit
            time.sleep(session.parameters.timing.slot_ms / 1_000)


@contextmanager
def _open_rounds(
    settings: Settings, request: RoundRequest
) -> Iterator[tuple[Session, RoundSources]]:
    with open_session(settings) as session:
        if session.parameters.rounds is None:
            raise ConfigError("this network has no rounds: use `assay train verify-step`")
        make_cards_repeat()
        yield session, _open_sources(session, request.stores, request.folder)


def _read_digest(session: Session, checkpoint: str | None) -> bytes:
    if checkpoint is None:
        chain = session.chain
        return get_in_force_at(chain, session.parameters, chain.get_head()).digest
    try:
        digest = read_hex(checkpoint)
    except EncodingError:
        digest = b""
    if len(digest) != DIGEST_BYTES:
        raise ConfigError(f"{checkpoint[:80]} is not a checkpoint's digest: 64 hex digits")
    return digest


def _open_sources(session: Session, places: Sequence[str], folder: Path) -> RoundSources:
    """Open the sources of rounds. `places` are stores that are asked first."""
    named = [open_store(place) for place in places]
    stores = [*named, *session.checkpoint_mirrors()]
    chain, beacons, history = session.chain, session.beacons, session.history

    def find_context(window: int) -> Context | None:
        parameters = history.get(window)
        challenge = get_challenge(chain, beacons, parameters, window)
        if challenge is None:
            return None
        return get_context(chain, beacons, parameters, challenge)

    checkpoints = CheckpointFolder(folder / "models", DownloadSettings(lambda: stores))
    return RoundSources(chain, history, find_context, checkpoints, stores, folder)
