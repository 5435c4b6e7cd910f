"""`assay verify`: one file, one context, one model folder, one verdict."""

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from assay.artifacts.submissions.file import SubmissionFile
from assay.cli.console import print_result
from assay.cli.exits import FINDING, OK
from assay.cli.start import TORCH, starting
from assay.network.store import open_file
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
from assay.protocol.submission import HEADER_BYTES, Range
from assay.settings.loading import ConfigError, parse_hotkey
from assay.settings.sections import Settings
from assay.verification import Refused, Verdict

if TYPE_CHECKING:  # it loads torch: an unreadable file is reported before that
    from assay.inference import Checkpoint

#: Most bytes of a context. A full subnet's is below 200 KiB.
_CONTEXT_BYTES = 16 << 20


def run_verify(
    settings: Settings,
    file: Path,
    context: Path,
    model: Path,
    hotkey: str | None,
    every: bool,
    allow_local_beacon: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Judge a file by the public facts in `context`, with the model that was in force."""
    started = perf_counter()
    facts = _read_context(context, allow_local_beacon)
    key = parse_hotkey(hotkey, "--hotkey") if hotkey else None
    if not model.is_dir():
        raise ConfigError(f"{model} is not a folder: name a checkpoint's folder")
    # PyTorch takes seconds to load, and faults of the other files are reported first
    with starting(settings, loads=TORCH, quiet=quiet):
        from assay.inference import load_checkpoint
        from assay.settings.placing import open_placement
    checkpoint = load_checkpoint(model, facts.checkpoint, open_placement(settings.compute))
    _require_usable(checkpoint, facts, context)
    submission = SubmissionFile(open_file(file))
    whose = key or _read_hotkey(submission)
    verdict = _judge(submission, whose, facts, checkpoint, every)
    document = verdict.to_record().to_json(perf_counter() - started)
    if isinstance(whose, Refusal):
        document["hotkey"] = None
    if as_json or not quiet:
        print_result(document, as_json, _render(document))
    return OK if verdict.accepted else FINDING


def _judge(
    submission: SubmissionFile,
    key: bytes | Refusal,
    context: Context,
    checkpoint: "Checkpoint",
    every: bool,
) -> Verdict:
    from assay.artifacts.submissions.judge import judge_with_checkpoint

    if isinstance(key, Refusal):
        return Refused(window=context.window, hotkey=bytes(32), fault=key)
    committed, groups = context.commitments.get(key), None
    if every and committed is not None:
        groups = range(min(committed.groups, context.parameters.work.group_cap))
    return judge_with_checkpoint(submission, key, context, checkpoint, groups=groups)


def _require_usable(checkpoint: "Checkpoint", context: Context, context_path: Path) -> None:
    """Check that a window can be judged with the checkpoint."""
    from assay.artifacts.checkpoints.folder import find_checkpoint_fault

    try:
        fault = find_checkpoint_fault(checkpoint, context.parameters)
    except ValueError as error:  # an environment that this version does not have
        raise ConfigError(f"{context_path}: {error}") from None
    if fault is not None:
        raise ConfigError(f"the window is void for everyone: its checkpoint is unusable: {fault}")


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
    """The hotkey that the file's header names, or the reason why it cannot be read."""
    data = submission.read(Range(0, HEADER_BYTES))
    if isinstance(data, Refusal):
        return data
    try:
        return decode(Header, data).hotkey
    except EncodingError as error:
        return Refusal(Reason.MALFORMED, f"the header {error}")


def _render(verdict: dict[str, Any]) -> RenderableType:
    style = "bold green" if verdict["accepted"] else "bold red"
    where = "".join(f", {k} {verdict[k]}" for k in ("group", "rollout", "token") if k in verdict)
    whose = verdict["hotkey"] or "unreadable hotkey"
    text = Text()
    text.append(verdict["reason"], style=style)
    text.append(f"  {whose}, window {verdict['window']}{where}\n  {verdict['detail']}\n")
    statistics = verdict["statistics"]
    if verdict["accepted"] or any(statistics.values()):  # otherwise no model was run
        text.append(
            f"  largest margin {statistics['margin_max']:.2g} logits, log capital "
            f"{statistics['log_capital']:.2f}, logprob RMS {statistics['logprob_rms']:.2g} nats, "
            f"sketch distance {statistics['sketch_mean']:.3f}\n",
            style="dim",
        )
    for group in verdict["groups"]:
        mean, right = (
            sum(group[name]) / len(group[name]) / 1e6 for name in ("rewards", "correctness")
        )
        rollouts = ", ".join(map(str, group["audited"]))
        text.append(
            f"  group {group['index']}: value {group['value']}, mean reward {mean:.3f}, mean "
            f"correctness {right:.3f}, audited rollouts {rollouts}\n"
        )
    tokens = f"{verdict['tokens']} tokens verified in " if verdict["accepted"] else ""
    text.append(f"  {tokens}{verdict['seconds']} s", style="dim")
    return text
