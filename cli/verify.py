"""`assay verify`: one file, one context, one model folder, one verdict."""

import json
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from assay.artifacts.parquet.parquet_worker import ParquetWorker
from assay.artifacts.submissions.submission_file import SubmissionFile
from assay.artifacts.submissions.submission_layout import get_limits
from assay.cli.options import FINDING, OK
from assay.network.store import open_file
from assay.neurons.settings.loading import ConfigError, parse_hotkey
from assay.neurons.settings.sections import Settings
from assay.protocol import (
    QUICKNET,
    Context,
    EncodingError,
    Header,
    Reason,
    Refusal,
    context_from_json,
    find_context_fault,
)
from assay.protocol.encoding import decode, read_json
from assay.verification import Verdict

if TYPE_CHECKING:
    from assay.inference import Checkpoint

#: A context of a full subnet is below 200 KiB.
_CONTEXT_BYTES = 16 << 20


def run_verify(
    _: Settings,
    file: Path,
    context: Path,
    model: Path,
    hotkey: str | None,
    every: bool,
    allow_local_beacon: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Judges a file by the public facts in `context`, with the model that was in force."""
    verdict = verify_file(file, context, model, hotkey, every, allow_local_beacon)
    if as_json or not quiet:
        print_verdict(verdict, as_json)
    return OK if verdict["accepted"] else FINDING


def verify_file(
    file: Path,
    context_path: Path,
    model: Path,
    hotkey: str | None,
    every: bool,
    allow_local_beacon: bool,
) -> dict[str, Any]:
    """The verdict as JSON (interfaces: "Verdict")."""
    started = perf_counter()
    context = _read_context(context_path, allow_local_beacon)
    named = parse_hotkey(hotkey, "--hotkey") if hotkey else None
    if not file.is_file():
        raise ConfigError(f"there is no file {file}")
    checkpoint = _load_model(model, context, context_path)
    from assay.artifacts.submissions.submission_judge import judge_with_checkpoint

    with ParquetWorker() as worker:
        submission = SubmissionFile(open_file(file), worker, get_limits(context.parameters))
        key = named or _read_hotkey(submission)
        if isinstance(key, Refusal):
            unnamed = Verdict(context.window, bytes(32), key.reason, key.detail)
            return unnamed.to_json(perf_counter() - started) | {"hotkey": None}
        committed = context.commitments.get(key)
        groups = None
        if every and committed is not None:
            groups = range(min(committed.groups, context.parameters.work.group_cap))
        verdict = judge_with_checkpoint(submission, key, context, checkpoint, groups=groups)
    return verdict.to_json(perf_counter() - started)


def _load_model(folder: Path, context: Context, context_path: Path) -> "Checkpoint":
    """The checkpoint in force, if a window can be judged with it."""
    # PyTorch takes seconds to load, and what is wrong with the other files is said before
    from assay.artifacts.checkpoints.checkpoint_folder import find_checkpoint_fault
    from assay.inference import load_checkpoint

    checkpoint = load_checkpoint(folder, context.checkpoint)
    try:
        fault = find_checkpoint_fault(checkpoint, context.parameters)
    except ValueError as error:  # an environment that this version does not have
        raise ConfigError(f"{context_path}: {error}") from None
    if fault is not None:
        raise ConfigError(f"the window is void for everyone: its checkpoint is unusable: {fault}")
    return checkpoint


def _read_context(path: Path, allow_local_beacon: bool) -> Context:
    try:
        if path.stat().st_size > _CONTEXT_BYTES:
            raise ConfigError(f"{path} is larger than {_CONTEXT_BYTES >> 20} MiB: not a context")
        context = context_from_json(read_json(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"cannot read the context {path}: {error.strerror}") from None
    except EncodingError as error:
        raise ConfigError(f"{path} is not a window's context: {error}") from None
    if context.parameters.beacon != QUICKNET and not allow_local_beacon:
        raise ConfigError(
            "the context's beacon chain is not quicknet; if it is a demo's own, add "
            "--allow-local-beacon"
        )
    fault = find_context_fault(context)
    if fault is not None:
        raise ConfigError(f"{path}: {fault}")
    if context.audit is None:
        raise ConfigError(f"{path} has no audit beacon yet: the window is still open")
    return context


def _read_hotkey(submission: SubmissionFile) -> bytes | Refusal:
    """The hotkey that the file's header names, or why it cannot be read."""
    footer = submission.read_footer()
    if isinstance(footer, Refusal):
        return footer
    try:
        return decode(Header, footer.header).hotkey
    except EncodingError as error:
        return Refusal(Reason.MALFORMED, f"the header {error}")


def print_verdict(verdict: dict[str, Any], as_json: bool) -> None:
    """For a program, or for a person."""
    if as_json:
        print(json.dumps(verdict))
        return
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    style = "bold green" if verdict["accepted"] else "bold red"
    where = "".join(f", {k} {verdict[k]}" for k in ("group", "rollout", "token") if k in verdict)
    console.print(verdict["reason"], style=style, end="")
    whose = verdict["hotkey"] or "nobody's that can be read"
    console.print(f"  {whose}, window {verdict['window']}{where}")
    console.print(f"  {verdict['detail']}", markup=False)
    statistics = verdict["statistics"]
    if verdict["accepted"] or any(statistics.values()):  # otherwise no model was run
        console.print(
            f"  largest margin {statistics['margin_max']:.2g} logits, log capital "
            f"{statistics['log_capital']:.2f}, logprob RMS {statistics['logprob_rms']:.2g} nats, "
            f"sketch distance {statistics['sketch_mean']:.3f}",
            style="dim",
        )
    for group in verdict["groups"]:
        mean = sum(group["rewards"]) / len(group["rewards"]) / 1e6
        console.print(f"  group {group['index']}: value {group['value']}, mean reward {mean:.3f}")
    tokens = f"{verdict['tokens']} tokens verified in " if verdict["accepted"] else ""
    console.print(f"  {tokens}{verdict['seconds']} s", style="dim")
