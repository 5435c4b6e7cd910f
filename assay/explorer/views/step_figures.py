"""Figures of a course's steps as curves: all that a step has, by their names in TensorBoard."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from assay.explorer.documents.curves import POINTS_MAX, Curve, CurvePoint
from assay.explorer.documents.training import WatchedRow
from assay.explorer.views.common import read_number
from assay.explorer.views.curves import make_curve


class StepFigure(NamedTuple):
    """A figure of a step. name: of the curve; key: of the figure; top: of the axis, None: by its
    values; change: what is drawn of it."""

    name: str
    key: str
    title: str
    top: float | None = None
    change: Callable[[float], float] = float


def _complement(share: float) -> float:
    return 1 - share


#: By subject, in the order of a page.
FIGURES: Mapping[str, tuple[StepFigure, ...]] = {
    "Reward and groups": (
        StepFigure("step-reward", "groups/reward", "Reward of all groups of the step", 1),
        StepFigure(
            "zero-variance", "groups/teaching", "Share of zero-variance groups", 1, _complement
        ),
        StepFigure(
            "any-right",
            "groups/all_wrong",
            "Share of groups with any reward (pass@k, k = group size)",
            1,
            _complement,
        ),
        StepFigure("all-right", "groups/all_right", "Share of groups all right", 1),
        StepFigure("distinct", "groups/distinct", "Distinct completions of a group"),
        StepFigure("groups", "groups/groups", "Groups of the step"),
    ),
    "Optimisation": (
        StepFigure("loss", "step/loss", "Loss"),
        StepFigure("kl", "step/mean_kl", "KL, nats a token"),
        StepFigure("step-entropy", "step/entropy", "Entropy of learned tokens, nats"),
        StepFigure("drawn-entropy", "groups/entropy", "Entropy estimated from rollouts, nats"),
        StepFigure("clipped", "step/clipped_share", "Share of tokens with a clipped ratio"),
        StepFigure("ratio", "step/mean_ratio", "Ratio of new to old probability, mean"),
        StepFigure("ratio-p01", "step/ratio_p01", "Ratio, 1 % quantile"),
        StepFigure("ratio-p99", "step/ratio_p99", "Ratio, 99 % quantile"),
        StepFigure("ratio-max", "step/ratio_max", "Ratio, greatest"),
        StepFigure("gradient-norm", "step/gradient_norm", "Gradient norm"),
        StepFigure("learning-rate", "step/learning_rate", "Learning rate"),
        StepFigure("sft-loss", "step/sft_loss", "SFT loss, nats a token"),
    ),
    "Lengths": (
        StepFigure("length", "groups/length_mean", "Tokens of a completion, mean"),
        StepFigure("length-p50", "groups/length_p50", "Tokens of a completion, median"),
        StepFigure("length-p90", "groups/length_p90", "Tokens of a completion, 90 % quantile"),
        StepFigure("length-max", "groups/length_max", "Tokens of a completion, greatest"),
        StepFigure("at-limit", "groups/at_limit", "Share of truncated completions"),
    ),
    "Throughput and staleness": (
        StepFigure("learned-tokens", "step/tokens", "Tokens learned, all passes"),
        StepFigure("staleness", "window/staleness", "Staleness, checkpoints"),
        StepFigure("stale-share", "step/stale_share", "Share of older rollouts"),
        StepFigure("stale-ess", "step/stale_ess", "Effective sample size of older rollouts", 1),
        StepFigure("stale-kl", "step/stale_kl", "KL of older rollouts, nats"),
    ),
}


def list_step_curves(rows: Sequence[WatchedRow]) -> list[Curve]:
    """The curves that have a point."""
    curves = []
    for figure in (figure for figures in FIGURES.values() for figure in figures):
        points = [
            CurvePoint(x=row["window"], y=float(f"{figure.change(value):.6g}"))
            for row in rows[-POINTS_MAX:]
            if (value := read_number(row["figures"], figure.key)) is not None
        ]
        curves.append(make_curve(figure.name, figure.title, "window", points, figure.top))
    return [curve for curve in curves if curve["series"]]
