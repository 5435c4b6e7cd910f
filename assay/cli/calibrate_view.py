"""What `assay calibrate` prints."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from assay.cli.console import print_result
from assay.inference.folder import CALIBRATION_FILE
from assay.lab.calibration import PICTURE_FILE, REPORT_FILE, Calibrated, Step


def show_calibrated(done: Calibrated, as_json: bool) -> None:
    """Show a report."""
    print_result(done.report, as_json, _render_report(done.report, done.out))


@contextmanager
def showing_steps(quiet: bool) -> Iterator[Step]:
    """Show a bar on a terminal, and one line for each step elsewhere; both on stderr."""
    errors = Console(stderr=True)
    if quiet:
        yield lambda _: None
    elif not errors.is_terminal:
        yield lambda text: errors.print(text, highlight=False)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=errors, transient=True) as progress:
            task = progress.add_task("", total=None)

            def step(text: str) -> None:
                progress.update(task, description=text)
                progress.advance(task)

            yield step


def _render_report(report: dict[str, Any], out: Path) -> RenderableType:
    honest, envelope, stored = report["fingerprints"], report["envelope"], report["stored"]
    compared = "not compared: its rates are for the network's cap"
    if stored is not None:
        compared = (
            f"rates in force: {stored['worst_bin']:.3g} of the bound in the worst Gini bin, "
            f"{stored['worst_context']:.3g} in the worst context"
        )
    lines = [
        f"{report['a']} against {report['b']}: {report['tokens']:,} tokens of "
        f"{report['contexts']:,} contexts, mean Gini impurity {report['mean_gini']:.3g}",
        f"  gaps      logit gaps beyond the cap of {report['cap']:.3g} logits: "
        f"{report['rate_beyond_cap']:.2g}"
        f" a token (at most 1e-10); {report['margin_once_in_1e8']:.2g} is passed once in 1e8",
        f"  envelope  held-out rates are {envelope['worst_bin']:.3g} of the bound in the worst "
        f"Gini bin, {envelope['worst_context']:.3g} in the worst context; α grows by "
        f"{envelope['alpha_growth']:.3g}",
        f"  manifest  {compared}",
        f"  prints    activation fingerprints: worst block {honest['sketch_block']:.3g} of "
        f"{honest['sketch_block_bound']}, "
        f"worst rollout {honest['sketch_rollout']:.3g} of {honest['sketch_rollout_bound']}",
        f"  logprobs  largest {honest['logprob_max']} of {honest['logprob_max_bound']}, worst RMS "
        f"{honest['logprob_rms']:.3g} of {honest['logprob_rms_bound']}, in 2^-16 nats",
    ]
    routers = report["routers"]
    if routers is not None:
        lines.append(
            f"  routers   ramp {routers['router_ramp']:,}, proposed {routers['proposed_ramp']:,}; "
            f"{routers['experts_needed']:.3g} experts a token take part where "
            f"{routers['experts_chosen']} are chosen; their own routers diverge by "
            f"{routers['divergence']:.2g} nats a token, and their drafts in bf16 are wrong in "
            f"{100 * report['attacks']['bf16']['rate_above_0']:.2g} % of the tokens"
        )
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for heading in (
        "attack",
        "flips a token",
        "beyond the cap",
        "fingerprint fails",
        "logprobs fail",
    ):
        table.add_column(heading, justify="left" if heading == "attack" else "right", no_wrap=True)
    for name, row in report["attacks"].items():
        table.add_row(
            name,
            *(f"{row[key]:.2g}" for key in ("rate_above_0", "rate_beyond_cap")),
            *(f"{100 * row[f'caught_by_{key}']:.0f} %" for key in ("sketch", "logprobs")),
        )
    words = [f"! {sentence}" for sentence in (*report["refused"], *report["findings"])]
    files = [REPORT_FILE, PICTURE_FILE]
    if not report["refused"]:
        files.insert(0, f"{CALIBRATION_FILE} ({report['calibration'][:16]}…)")
    words.append(f"In {out}: {', '.join(files)}")
    return Group(Text("\n".join(lines)), table, Text("\n".join(words)))
