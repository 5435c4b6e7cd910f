"""The commands that derive the content of pages again, ready to be typed on this machine."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assay.explorer.ports import AuditCommand
from assay.explorer.sources.ledger_events import LedgerPlace
from assay.explorer.sources.run_view import TrainerOutput
from assay.protocol.beacon import QUICKNET
from assay.protocol.commitment import make_object_name
from assay.protocol.parameters import Parameters
from assay.protocol.record import make_settlement_record_name

#: Most windows of one audit. `assay.audit.bundle` has the same, but importing it would load models'
#: libraries into the process that serves.
WINDOWS_MAX = 10_000
#: Errors of reading an invalid document.
_BROKEN = (ValueError, LookupError, TypeError, ArithmeticError, RecursionError)
#: Longest name of a strategy in a command, characters.
_NAME = 64
#: Most groups in a command.
_GROUPS_MAX = 10**6


@dataclass(frozen=True, slots=True)
class ShellCommands:
    """See `assay.explorer.ports.Commands`."""

    validator: str
    parameters: Parameters
    #: of a demo or a validator: contexts, and a demo's bundle, store and models
    folder: Path | None = None
    models: Path | None = None  # the folder of checkpoints for repeating verdicts
    #: flags that name the chain, and settings; None: no chain was named
    online: tuple[str, ...] | None = None
    records: str | None = None  # where the record lies, if it must be named
    store: Path | None = None  # a folder of miners' files
    trainer: Path | None = None
    ledger: LedgerPlace | None = None
    record: Path | None = None

    def audit(self, first: int, last: int) -> AuditCommand | None:
        """Use the bundle if it has all windows, otherwise the chain, otherwise the windows that the
        bundle has."""
        first = max(first, last - WINDOWS_MAX + 1)
        bundled = self._read_bundle()
        whole = bundled is not None and bundled[0] <= first and last <= bundled[1]
        if bundled is not None and (whole or not self._is_reachable()):
            first, last = max(first, bundled[0]), min(last, bundled[1])
            words = ["--offline", str(self.folder / "bundle")] if self.folder else []
            if self.parameters.beacon != QUICKNET:
                words.append("--allow-local-beacon")
        elif self._is_reachable():
            words = self._write_place()
        else:
            return None
        if first > last:
            return None
        words += ["--windows", _write_span(first, last)]
        if self.models is not None:
            words += ["--model", str(self.models)]
        text = shlex.join(["assay", "audit", *words])
        return AuditCommand(text, first, last, self.models is not None)

    def _is_reachable(self) -> bool:
        return self.online is not None or self.records is not None

    def _read_bundle(self) -> tuple[int, int] | None:
        if self.folder is None:
            return None
        try:
            about = json.loads((self.folder / "bundle" / "about.json").read_bytes())
            if about["validator"] != self.validator:
                return None
            return int(about["windows"][0]), int(about["windows"][1])
        except (OSError, *_BROKEN):
            return None

    def ledger_flags(self) -> list[str]:
        place = self.ledger
        assert place is not None  # its callers check that
        flags = ["--evm", show_address(place.endpoint, "https://EVM-NODE")]
        return [*flags, "--chain-id", str(place.chain_id), "--contract", place.contract]

    def compare(self, epoch: int, first: int, last: int, miner: str | None) -> str | None:
        """An audit if a chain is named, otherwise a check of the record's file or of the entry."""
        if self.ledger is None:
            return None
        netuid = str(self.parameters.identity.netuid)
        if self.online is not None:
            words = ["assay", "audit", *self._write_place(), "--windows", _write_span(first, last)]
            return shlex.join([*words, *self.ledger_flags()])
        name = make_settlement_record_name(self.validator, epoch)
        if self.record is not None and miner is not None:
            words = ["assay", "ledger", "verify-score", str(self.record / name), "--miner", miner]
        else:
            words = ["assay", "ledger", "show", self.validator, str(epoch)]
        return shlex.join([*words, "--netuid", netuid, *self.ledger_flags()])

    def verify(self, window: int, hotkey: str) -> str | None:
        if self.folder is None or self.store is None or self.models is None:
            return None
        file = self.store / make_object_name(hotkey, window)
        context = self.folder / "contexts" / f"window-{window}.json"
        model = self._find_model(context)
        if model is None or not file.is_file():
            return None
        words = ["assay", "verify", str(file), "--context", str(context), "--model", str(model)]
        if self.parameters.beacon != QUICKNET:
            words.append("--allow-local-beacon")
        return shlex.join(words)

    def explain(self, window: int, hotkey: str) -> str | None:
        """Use the folder if it has the window's context, otherwise the chain."""
        if (
            self.folder is not None
            and (self.folder / "contexts" / f"window-{window}.json").is_file()
        ):
            words = ["--dir", str(self.folder)]
        elif self._is_reachable():
            words = self._write_place()
        else:
            return None
        return shlex.join(["assay", "explain", "--hotkey", hotkey, f"--window={window}", *words])

    def _write_place(self) -> list[str]:
        """Flags for the validator, the chain, and the place of the record."""
        netuid = str(self.parameters.identity.netuid)
        words = ["--validator", self.validator, *(self.online or ("--netuid", netuid))]
        return words if self.records is None else [*words, "--records", self.records]

    def _find_model(self, context: Path) -> Path | None:
        try:
            digest = str(json.loads(context.read_bytes())["checkpoint"])
        except (OSError, *_BROKEN):
            return None
        assert self.models is not None  # its caller checks that
        place = self.models / digest
        if digest.isalnum() and place.is_dir():
            return place
        return self.models if (self.models / "manifest.json").is_file() else None

    def training(self) -> str | None:
        step = None if self.trainer is None else TrainerOutput(self.trainer).get_newest_step()
        return None if step is None else shlex.join(["assay", "train", "verify-step", str(step)])

    def watch(self) -> str | None:
        if self.trainer is None or not (self.trainer / "steps").is_dir():
            return None
        return shlex.join(["assay", "train", "watch", "--dir", str(self.trainer)])

    def proposals(self) -> str | None:
        if self.trainer is None or not (self.trainer / "steps").is_dir():
            return None
        return shlex.join(["assay", "train", "proposals", "--dir", str(self.trainer)])

    def audit_round(self, checkpoint: str | None) -> str | None:
        if self.online is None or self.parameters.rounds is None:
            return None
        named = [] if checkpoint is None else [checkpoint]
        return shlex.join(["assay", "audit", "round", *named, *self.online])

    def gauntlet(self, table: Mapping[str, Any]) -> str | None:
        options = table.get("asked")
        options = options if isinstance(options, dict) else {}
        words = ["assay", "gauntlet"]
        if options.get("fast") is True:
            words.append("--fast")
        if type(options.get("groups")) is int and 0 < options["groups"] <= _GROUPS_MAX:
            words += ["--groups", str(options["groups"])]
        only = options.get("only")
        if isinstance(only, str) and only.isprintable() and len(only) <= _NAME:
            words.append(f"--only={only}")
        return shlex.join(words)

    def compare_validators(self, windows: tuple[int, int] | None) -> str | None:
        if self.online is None:
            return None
        words = ["assay", "audit", "compare", *self.online]
        if windows is not None:
            words += ["--windows", _write_span(*windows)]
        if self.models is not None:
            words += ["--model", str(self.models)]
        return shlex.join(words)


def _write_span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}..{last}"


def show_address(address: str, instead: str) -> str:
    """An address for pages. One with more than a host may hold a key: `instead` is its
    placeholder."""
    parts = urlsplit(address)
    more = parts.netloc and (parts.path not in ("", "/") or parts.query or parts.fragment)
    return instead if more or "@" in parts.netloc else address
