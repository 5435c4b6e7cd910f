"""`assay train watch`: whether the course in a folder learns, in one line."""

from collections.abc import Iterator
from pathlib import Path

from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.steps.file import open_step_parser
from assay.artifacts.steps.folder import Step, StepError, read_step, read_taken
from assay.cli.console import print_result
from assay.cli.exits import FINDING, OK
from assay.inference.folder import MANIFEST_FILE
from assay.network import StoreError, open_folder
from assay.neurons.settings.loading import ConfigError
from assay.neurons.trainer.monitor import WINDOWS_FILE, read_windows
from assay.protocol.encoding import EncodingError, read_json
from assay.training.figures import compute_group_figures
from assay.training.watch import BEGINNING, COMPARED, CourseState, WatchedWindow, judge_course


def run_train_watch(folder: Path, as_json: bool) -> int:
    """Print what a course does. Return the exit code."""
    windows = read_course(folder)
    verdict = judge_course(windows)
    print_result(verdict.to_json(), as_json, str(verdict))
    return FINDING if verdict.state in (CourseState.COLLAPSES, CourseState.STARVED) else OK


def read_course(folder: Path) -> list[WatchedWindow]:
    """The windows of a course, in order: a trainer's own figures, or else those that follow from
    its steps' groups, of the first and the newest steps. Raises ConfigError or StepError: there are
    none, or they cannot be read."""
    own = folder / WINDOWS_FILE
    if own.exists():
        try:
            return read_windows(own)
        except (EncodingError, TypeError, LookupError) as error:
            raise ConfigError(f"{own} cannot be read ({error}): move it away") from None
    steps = sorted((folder / "steps").glob("step-*.json"))
    if not steps:
        raise ConfigError(
            f"{folder} has neither {WINDOWS_FILE} nor steps: name a trainer's or a demo's folder "
            "with --dir"
        )
    if len(steps) > BEGINNING + COMPARED:
        steps = steps[:BEGINNING] + steps[-COMPARED:]
    return list(_read_steps(folder, [read_step(path) for path in steps]))


def _read_steps(folder: Path, steps: list[Step]) -> Iterator[WatchedWindow]:
    with open_step_parser() as parser:
        for step in steps:
            window = step.record.window
            groups = [one.group for one in read_taken(step, parser) if one.window == window]
            yield WatchedWindow(
                step.record.window,
                step.record.number,
                0,
                compute_group_figures(groups, _find_max_tokens(folder, step)),
            )


def _find_max_tokens(folder: Path, step: Step) -> int:
    """The most tokens of a completion: of the checkpoint's manifest, which has it exactly, or else
    of the parameters, which bound it."""
    manifest = folder / "models" / step.child.hex() / MANIFEST_FILE
    try:
        return int(read_json(manifest.read_bytes())["max_tokens"])
    except (OSError, EncodingError, TypeError, LookupError, ValueError):
        pass
    try:
        rules = open_folder(folder / "steps" / "rules")
        return fetch_parameters(rules, step.record.parameters).work.max_tokens
    except (StoreError, EncodingError) as error:
        raise StepError(f"the parameters of {step.path} cannot be read: {error}") from None
