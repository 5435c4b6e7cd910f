"""What `assay verify` prints."""

from typing import Any

from rich.console import RenderableType
from rich.text import Text

from assay.audit.verify_file import Verified
from assay.cli.console import print_result


def show_verified(done: Verified, as_json: bool) -> None:
    """Show a verdict, and how long it took."""
    document = done.verdict.to_record().to_json(done.judging)
    if done.hotkey is None:
        document["hotkey"] = None
    print_result(document, as_json, _render(document, done.loading))


def _render(verdict: dict[str, Any], loading: float) -> RenderableType:
    style = "bold green" if verdict["accepted"] else "bold red"
    where = "".join(f", {k} {verdict[k]}" for k in ("group", "rollout", "token") if k in verdict)
    whose = verdict["hotkey"] or "unreadable hotkey"
    text = Text()
    text.append(verdict["reason"], style=style)
    text.append(f"  {whose}, window {verdict['window']}{where}\n  {verdict['detail']}\n")
    statistics = verdict["statistics"]
    if verdict["accepted"] or any(statistics.values()):  # otherwise no model was run
        text.append(
            f"  largest logit gap {statistics['margin_max']:.2g} logits, sequential test "
            f"{statistics['log_capital']:.2f}, logprob RMS {statistics['logprob_rms']:.2g} nats, "
            f"fingerprint distance {statistics['sketch_mean']:.3f}\n",
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
    loaded = f", and {loading:.3f} s of loading the checkpoint"
    text.append(f"  {tokens}{verdict['seconds']} s{loaded}", style="dim")
    return text
