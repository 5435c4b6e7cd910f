"""Settings as a command gets them: from its flags, variables, a file, a localnet and a recipe."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.cli.start import announce

if TYPE_CHECKING:
    from assay.settings.sections import Settings

#: Seconds between two looks at a localnet that is starting; until it is given up; and until its
#: program counts as not started, as in `assay localnet & assay mine --localnet …`.
_POLL_S, _START_SECONDS, _APPEAR_S = 0.2, 300.0, 15.0


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """The values on a command line for settings."""

    #: section → field → value; None if the flag was not given
    flags: dict[str, dict[str, Any]] = field(default_factory=dict)
    config: Path | None = None
    localnet: Path | None = None
    #: "owner" or "trainer": whose wallet to use on a localnet, unless another is named
    role: str | None = None
    recipe: str | None = None  # its trainer's settings and its implementation replace defaults
    waits: bool = True  # for a localnet that is being made

    def load(self) -> "Settings":
        """Load settings from flags, variables and a file, with a localnet's as defaults."""
        from assay.settings.loading import load_settings

        below: dict[str, dict[str, Any]] = {}
        if self.recipe is not None:
            from assay.subnet.recipe import read_recipe

            recipe = read_recipe(self.recipe)
            below["trainer"] = recipe.trainer.model_dump(exclude_unset=True)
            below["compute"] = {"implementation": recipe.course.implementation}
        if self.localnet is None:
            settings = load_settings(self.config, self.flags, below)
        else:
            from assay.lab.localnet.description import is_running, read_settings

            if self.waits:
                _await_localnet(self.localnet)
            sections = read_settings(self.localnet, self.role)
            for section, values in below.items():
                sections[section] = values | sections.get(section, {})
            settings = load_settings(self.config, self.flags, sections)
            if not is_running(self.localnet):  # it may be restarting: programs wait for it
                start = f"`assay localnet --dir {self.localnet}` in another terminal"
                say = f"assay: the localnet in {self.localnet} is not running: {start}"
                print(say, file=sys.stderr)
        flat = settings.trainer.describe_flat() if self.role == "trainer" else None
        if flat is not None:
            print(f"assay: {flat}", file=sys.stderr)
        return settings


def _await_localnet(folder: Path) -> None:
    """Wait until a localnet is described, as long as there is reason to."""
    from assay.lab.localnet.description import is_missing, is_starting

    for is_so, doing, seconds in (
        (is_missing, f"waiting for a localnet to start in {folder}", _APPEAR_S),
        (is_starting, f"waiting for the localnet in {folder}, which is starting", _START_SECONDS),
    ):
        if is_so(folder):
            announce(doing)
            deadline = time.monotonic() + seconds
            while is_so(folder) and time.monotonic() < deadline:
                time.sleep(_POLL_S)
