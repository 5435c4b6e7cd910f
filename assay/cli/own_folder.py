"""Folders of --out: what each command leaves in its own. A folder is one run's.

Beside what a command writes, its folder may hold nothing: the command refuses a folder with
anything else, and names it. What an earlier run left, a command either deletes (the demo), writes
anew as a whole (calibrate, gauntlet), or goes on with if it is of the same plan and refuses
otherwise (contest, eval, preparations). Light: commands ask before anything heavy is loaded.
"""

import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from assay.settings.loading import ConfigError, make_out_folder

#: Names of strangers' files that an error shows.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class OwnFolder:
    """What a command leaves in a folder.

    Attributes:
        whose: what such a folder holds, for a person.
        names: globs of everything that the command writes there.
        marker: file by which its folder is known: without it, the same names are another's. None:
            the names are enough.
    """

    whose: str
    names: tuple[str, ...]
    marker: str | None = None

    def require(self, folder: Path) -> list[str]:
        """Create the folder if it is missing, and list the command's own files there.

        Raises:
            ConfigError: it holds something else, or cannot be created or read.
        """
        make_out_folder(folder)
        try:
            names = sorted(path.name for path in folder.iterdir())
        except OSError as error:
            raise ConfigError(f"cannot read --out {folder} ({error.strerror})") from None
        is_ours = self.marker is None or self.marker in names
        if strangers := [name for name in names if not (is_ours and self.owns(name))]:
            shown = ", ".join(map(repr, strangers[:_SHOWN]))
            more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
            raise ConfigError(
                f"--out {folder} has {shown}{more}, and no {self.whose} leaves that there: name an "
                "empty folder"
            )
        return names

    def owns(self, name: str) -> bool:
        """Whether the command writes a file of this name, or writes to it before it gets one."""
        if name == self.marker:
            return True
        return any(fnmatch(name, each) or fnmatch(name, f".{each}.*") for each in self.names)

    def clear(self, folder: Path) -> None:
        """Delete an earlier run's files, but the marker. Raises as `require`, and OSError."""
        for name in self.require(folder):
            path = folder / name
            if name != self.marker:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


DEMO = OwnFolder(
    "demo",
    (
        *("summary.json", "status.json", "reward.svg", "contexts", "verdicts", "validator.sqlite*"),
        *("chain", "store", "models", "steps", "course", "record", "bundle", "saved-*"),
        *("push", ".publishing-hub"),  # of `assay export --push` and `assay publish-hub`
    ),
    ".assay-demo",
)
CALIBRATION = OwnFolder("calibration", ("calibration.json", "report.json", "calibration.svg"))
GAUNTLET = OwnFolder("gauntlet", ("gauntlet.json",))
CONTEST = OwnFolder(
    "contest",
    ("contest.json", "answers", "judged", "ranking.json", "data", "README.md", "judge-pairs"),
)
EVALUATION = OwnFolder("evaluation", ("eval.json", "completions.jsonl", "results.json", "model-*"))
#: What every preparation writes.
_PREPARED = "learner-*", "model", "model-*", "adapter.safetensors"
WARM_START = OwnFolder("SFT cold start", ("warm_start.json", "own_answers*", *_PREPARED))
PREFERENCES = OwnFolder("preference training", ("dpo.json", "reference.json", *_PREPARED))
DISTILLATION = OwnFolder("distillation", ("distill.json", *_PREPARED))
TRACE = OwnFolder("trace", ("trace.json", "trace.roots", "trace.operators"))
#: Command → the folder that its --out names.
OWN_FOLDERS = {
    "demo": DEMO,
    "calibrate": CALIBRATION,
    "gauntlet": GAUNTLET,
    "contest": CONTEST,
    "eval": EVALUATION,
    "train warm-start": WARM_START,
    "train dpo": PREFERENCES,
    "train distill": DISTILLATION,
    "train trace-step": TRACE,
}
