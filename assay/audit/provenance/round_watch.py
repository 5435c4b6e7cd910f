"""Derives rounds again one after the other, as their checkpoints come into force.

A trainer or any auditor runs it beside its own program. A trainer that lied is then recorded while
the files that show it still exist. A round can be longer than nodes keep state, so each of its
windows is read when it is over.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from assay.audit.provenance.round_audit import RoundAudit, RoundError, RoundSources, audit_round
from assay.network.chain.errors import ForgottenError
from assay.network.files import write_file
from assay.protocol.context import Context
from assay.protocol.window import compute_window
from assay.rounds.calendar import find_last_round
from assay.rounds.in_force import NOTHING, get_in_force_at

#: Findings, one JSON object a line, the newest last.
FINDINGS = "findings.jsonl"
#: Lines that are kept: a year's, with rounds of an hour.
_KEPT = 10_000


class RoundWatch:
    """Derives each round once.

    Args:
        sources: inputs of rounds; its folder also keeps the findings.
        steps: number of steps to repeat of each child.
        say: called with a line of progress.

    Raises (look):
        ChainError, StoreError, CheckpointError: to be retried later.
        RoundError: this round cannot be derived; the next `look` skips it.
    """

    def __init__(self, sources: RoundSources, steps: int, say: Callable[[str], None]) -> None:
        self._read_context, self._contexts = sources.get_context, dict[int, Context | None]()
        self._sources = replace(sources, get_context=self._get_context)
        self._steps, self._say = steps, say
        self._path = sources.folder / FINDINGS
        self._lines = _read_lines(self._path)
        self._last = _read_checkpoint(self._lines)

    def look(self) -> RoundAudit | None:
        """Derive the checkpoint in force; None: no new one since the last."""
        chain = self._sources.chain
        head = chain.get_head()
        self._read_ahead(head)
        in_force = get_in_force_at(chain, self._sources.history.get_at(head), head)
        if in_force == NOTHING or in_force.number == 0 or in_force.digest == self._last:
            return None
        try:
            audit = audit_round(self._sources, in_force.digest, self._steps, self._say)
        except RoundError:
            self._last = in_force.digest
            raise
        self._lines = [*self._lines, json.dumps(audit.to_json())][-_KEPT:]
        write_file(self._path, "".join(f"{line}\n" for line in self._lines).encode())
        self._last = in_force.digest
        return audit

    def _read_ahead(self, head: int) -> None:
        """Read the windows that are over, of the current round and of the one before."""
        parameters = self._sources.history.get_at(head)
        if parameters.rounds is None:
            return
        window = compute_window(parameters.timing, head)
        first = max(parameters.start.window, window - 2 * parameters.rounds.windows)
        last = find_last_round(parameters, head)  # its checkpoint may come much later
        first = first if last is None else min(first, last.windows.start)
        self._contexts = {w: c for w, c in self._contexts.items() if w >= first}
        for before in range(first, window):
            if before not in self._contexts:
                try:
                    self._get_context(before)
                except ForgottenError:  # before this watch began
                    self._contexts[before] = None

    def _get_context(self, window: int) -> Context | None:
        context = self._contexts.get(window) or self._read_context(window)
        if context is not None:
            self._contexts[window] = context
        return context


def _read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _read_checkpoint(lines: list[str]) -> bytes | None:
    """The last derived checkpoint. Raises a RoundError: the file's content is malformed."""
    if not lines:
        return None
    try:
        return bytes.fromhex(json.loads(lines[-1])["checkpoint"])
    except (ValueError, KeyError, TypeError):
        raise RoundError(f"{FINDINGS} ends with a line that is not a finding: remove it") from None
