"""The gauntlet from its settings to its table."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from assay.lab.gauntlet.attack_setup import AttackSetup
from assay.lab.gauntlet.bench_models import BENCH, EPISODES, SHIPPED, build_models, open_family
from assay.lab.gauntlet.chain_setup import WINDOWS, run_calendar, run_resting
from assay.lab.gauntlet.measuring import WINDOWS as RESAMPLED
from assay.lab.gauntlet.measuring import TableRow, choose, run_family
from assay.lab.gauntlet.table import CALENDAR, RESTING, STRATEGIES
from assay.network.files import write_json
from assay.settings.loading import ConfigError, make_out_folder
from assay.settings.placing import open_placement
from assay.settings.sections import ComputeSettings, GauntletSettings
from assay.subnet.waiting import Report, ignore_report

_FAST_GROUPS = 8


@dataclass(frozen=True, slots=True)
class PlayedGauntlet:
    """The table. `groups`: measured for each strategy."""

    settings: GauntletSettings
    groups: int
    rows: Sequence[TableRow]
    seconds: float

    @property
    def broken(self) -> list[str]:
        """Rows that show something that must not happen."""
        return [f"{row.model}: {row.attack}" for row in self.rows if row.is_broken]

    def to_json(self) -> dict[str, Any]:
        """The table for scripts."""
        rows, only = [asdict(row) for row in self.rows], self.settings.only
        return {
            "rows": rows,
            "honest": rows[0],
            "windows": RESAMPLED,
            "broken": self.broken,
            "seconds": round(self.seconds, 1),
            "asked": {"fast": self.settings.fast, "groups": self.groups, "only": only},
        }


def play_gauntlet(
    settings: GauntletSettings, compute: ComputeSettings, report: Report = ignore_report
) -> PlayedGauntlet:
    """Measure every strategy, and write the table into the settings' folder. Raises ConfigError: no
    strategy has the name, or it is not run."""
    started = time.monotonic()
    if compute.threads is None:
        torch.set_num_threads(1)  # small models: threads would wait for each other
    placement = open_placement(compute)
    torch.manual_seed(0)
    wanted = (settings.only or "").lower()
    if not any(wanted in kind.title.lower() for kind in STRATEGIES + CALENDAR + RESTING):
        raise ConfigError(f"no strategy has {settings.only!r} in its name")
    if settings.out is not None:
        make_out_folder(settings.out)
    groups = min(settings.groups, _FAST_GROUPS) if settings.fast else settings.groups
    if not settings.fast:
        build_models(settings.models)
    rows: list[TableRow] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in (SHIPPED,) if settings.fast else (SHIPPED, BENCH, EPISODES):
            family = open_family(name, settings.models)
            wanted_roles = set() if name == EPISODES else {"smaller", "sibling", "foreign"}
            if missing := sorted(wanted_roles - family.others.keys()):
                report(f"{name}: no {', '.join(missing)} model in {settings.models}: left out")
            setup = AttackSetup(family, Path(folder) / name, groups, placement)
            rows += run_family(setup, choose(settings.only), report)
        rows += run_calendar(
            Path(folder) / "calendar", 2 if settings.fast else WINDOWS, settings.only, report
        )
        rows += run_resting(Path(folder) / "resting", settings.only, report)
    if not any(wanted in row.attack.lower() for row in rows):
        raise ConfigError(
            f"{settings.only!r} did not run: it needs the bench models, so run it without --fast"
        )
    played = PlayedGauntlet(settings, groups, rows, time.monotonic() - started)
    if settings.out is not None:
        write_json(settings.out / "gauntlet.json", played.to_json())
    return played
