"""`assay audit round`."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.audit.provenance.round_audit import RoundAudit, RoundError, RoundSources, audit_round
from assay.audit.provenance.round_watch import RoundWatch
from assay.cli.exits import COULD_NOT_RUN, FINDING, OK
from assay.cli.train_steps import ignore_line, print_line
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


def run_round(
    settings: Settings,
    checkpoint: str | None,
    steps: int,
    places: Sequence[str],
    folder: Path,
    follow: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Derive a round again and print the result. Return the exit code.

    follow: derive each round as it ends, until Ctrl-C.
    """
    if follow and checkpoint is not None:
        raise ConfigError("--follow checks rounds as they end: name no checkpoint")
    with open_session(settings) as session:
        if session.parameters.rounds is None:
            raise ConfigError("this network has no rounds: use `assay train verify-step`")
        make_cards_repeat()
        say = ignore_line if quiet else print_line
        sources = _open_sources(session, places, folder)

        def show(audit: RoundAudit) -> None:
            if as_json:
                print(json.dumps(audit.to_json(), indent=None if follow else 1), flush=True)
            elif not quiet:
                _print(audit)

        if follow:
            slot = session.parameters.timing.slot_ms / 1_000
            _follow(RoundWatch(sources, steps, say), show, slot)
        audit = audit_round(sources, _read_digest(session, checkpoint), steps, say)
    show(audit)
    if audit.fault is not None or audit.named:
        return FINDING
    return OK if all(one.equal for one in audit.repeated) else COULD_NOT_RUN


def _follow(watch: RoundWatch, show: Callable[[RoundAudit], None], block_s: float) -> NoReturn:
    """Look after each block. An unavailable input is retried, and reported once."""
    last_error = ""
    while True:
        try:
            audit = watch.look()
        except (RoundError, ChainError, StoreError, CheckpointError) as error:
            if str(error) != last_error:
                print_line(last_error := str(error))
        else:
            last_error = ""
            if audit is not None:
                show(audit)
        time.sleep(block_s)


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


def _print(audit: RoundAudit) -> None:
    head = "EQUAL" if audit.fault is None else "DIFFERENT"
    why = "the round makes it" if audit.fault is None else audit.fault
    print(f"{head}  checkpoint {audit.end} ({audit.checkpoint[:16]}…): {why}")
    for child in audit.children:
        print(f"  {child.hotkey}  {child.found}: {child.detail}")
    words = {True: "equal", False: "DIFFERENT", None: "unknown"}
    for step in audit.steps:
        print(f"  {step.hotkey}  window {step.window}, {words[step.equal]}: {step.detail}")
    for success in audit.successes:
        print(f"  {success.hotkey}  held-out success, {words[success.equal]}: {success.detail}")
