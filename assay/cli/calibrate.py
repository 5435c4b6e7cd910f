"""`assay calibrate`: compares two implementations on the same tokens, to see whether a network may
permit both.

The tokens are the checkpoint's own calibration set. Attacks run on fewer of them, for comparison.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedModel

from assay.cli.calibration_report import draw_pair
from assay.cli.console import make_out_folder, print_result
from assay.inference import (
    Checkpoint,
    Comparison,
    Passage,
    Reference,
    Side,
    compare,
    load_checkpoint,
    make_placement,
)
from assay.inference.calibration import measure_divergence
from assay.inference.families import CHOSEN
from assay.inference.folder import CALIBRATION_FILE, MANIFEST_FILE, read_passages
from assay.inference.implementations import make_alone
from assay.inference.pair_report import Pair, RouterReading, describe_pair, list_thresholds
from assay.inference.probes import require_measurable
from assay.inference.routing import choose_fewer, count_experts, has_routers
from assay.lab.gauntlet.strategy import make_int4, make_int8
from assay.network.files import write_file, write_json
from assay.network.hub.origin import find_origin
from assay.protocol import Domain, hash_fields
from assay.protocol.encoding import to_json
from assay.protocol.parameters import (
    EXPERT_BITS,
    FRACTION_BITS,
    MAIN_WORK,
    SMALL_MODEL_TESTS,
    make_tests,
)
from assay.settings.loading import ConfigError
from assay.settings.placing import open_placement
from assay.settings.sections import CalibrateSettings, ComputeSettings, Settings
from assay.verification import Projection, make_projection

#: Contexts on which attacks run.
_ATTACKED_CONTEXTS = 64
#: Share by which each weight is off, in the attack with a model close to the true one.
_PERTURBATION = 0.01
_COOLER = round(0.9 * MAIN_WORK.temperature)
_REPORT_FILE, _PLOT_FILE = "report.json", "calibration.svg"


def run_calibrate(every: Settings, as_json: bool, quiet: bool) -> int:
    """Measure, write and print. Return 1 if an owner must fix something."""
    settings = every.calibrate
    _require_usable(settings)
    assert settings.model is not None
    out = settings.out
    with _show_progress(quiet) as step:
        step("loading the model")
        sides = _open_sides(settings, every.compute)
        checkpoint = sides[settings.b]
        contexts = read_passages(settings.model)[: settings.problems]
        if len(contexts) < 2:
            raise ConfigError(f"{settings.model} has a calibration set of fewer than two contexts")
        step("trying whether the model can be measured in packs")
        require_measurable(checkpoint.model)
        pair = _measure(sides, contexts, settings, step)
    report, calibration = describe_pair(pair)
    report = {"model": settings.model.name, "checkpoint": checkpoint.digest.hex(), **report}
    origin = find_origin(settings.model)
    if origin is not None:
        report |= {"model": str(origin.pinned), "origin": origin.to_json()}
    if calibration is not None:
        write_json(out / CALIBRATION_FILE, to_json(calibration))
        report["calibration"] = calibration.digest.hex()
    else:  # an older file would look like this pair's
        (out / CALIBRATION_FILE).unlink(missing_ok=True)
    write_json(out / _REPORT_FILE, report)
    write_file(out / _PLOT_FILE, draw_pair(pair).encode())
    print_result(report, as_json, _render_report(report, out))
    return 1 if report["refused"] or report["findings"] else 0


def _require_usable(settings: CalibrateSettings) -> None:
    """Check everything that can be known before minutes of work."""
    if settings.cap is not None and round(settings.cap * 2**FRACTION_BITS) < 100:
        raise ConfigError("--cap is too small: the first level is a hundredth of it, in 2^-20")
    if (settings.out / MANIFEST_FILE).exists():
        raise ConfigError(f"--out {settings.out} contains a checkpoint: name another folder")
    make_out_folder(settings.out)


def _open_sides(settings: CalibrateSettings, compute: ComputeSettings) -> dict[str, Checkpoint]:
    """Each side's checkpoint, and where and how it runs. It is loaded once for each device."""
    default = open_placement(compute)
    placements = {}
    for name in (settings.a, settings.b):
        device, _, implementation = name.rpartition(":")
        placements[name] = make_placement(
            device or default.device, implementation, default.memory_share
        )
    if len(set(placements.values())) < 2:
        raise ConfigError(f"--a {settings.a} and --b {settings.b} are the same: name two")
    assert settings.model is not None
    loaded: dict[str, Checkpoint] = {}
    sides = {}
    for name, placement in placements.items():
        if placement.device not in loaded:
            loaded[placement.device] = load_checkpoint(settings.model, placement=placement)
        sides[name] = loaded[placement.device]
    return sides


def _measure(
    loaded: Mapping[str, Checkpoint],
    contexts: list[Passage],
    settings: CalibrateSettings,
    step: Callable[[str], None],
) -> Pair:
    temperature = MAIN_WORK.temperature
    tests = SMALL_MODEL_TESTS
    if settings.cap is not None:
        tests = make_tests(round(settings.cap * 2**FRACTION_BITS))
    taus = list_thresholds(tests)
    checkpoint = loaded[settings.b]
    seed = hash_fields(Domain.PROJECTION, checkpoint.digest)
    projection = make_projection(seed, checkpoint.manifest)
    sides = []
    for name in (settings.a, settings.b):
        step(f"{name} reads {len(contexts):,} contexts")
        implementation = name.rpartition(":")[2]
        reference = loaded[name].get_reference(temperature, implementation)
        sides.append(Side.compute(reference, contexts))
    a, b = sides
    step("comparing the two")
    honest = compare(a, b, contexts, taus, temperature, projection)
    attacked = contexts[:_ATTACKED_CONTEXTS]
    judge = Side(b.reference, b.states[: len(attacked)])
    own = None
    if has_routers(checkpoint.model):
        step("its own routers read")
        drawable = checkpoint.tokenizer.drawable
        own = Side.compute(Reference(checkpoint.model, drawable, temperature), attacked)
    return Pair(
        a=settings.a,
        b=settings.b,
        honest=honest,
        attacks=_measure_attacks(checkpoint, attacked, judge, own, taus, projection, step),
        routers=None if own is None else _read_routers(checkpoint, attacked, judge, own, step),
        tests=tests,
        temperature=temperature,
        stored=checkpoint.calibration if settings.cap is None else None,
    )


def _measure_attacks(
    checkpoint: Checkpoint,
    contexts: list[Passage],
    judge: Side,
    own: Side | None,
    taus: list[float],
    projection: Projection,
    step: Callable[[str], None],
) -> dict[str, Comparison]:
    """The results of miners that deviate: they prefill with the model that they draw from. `own`: a
    mixture with its own routers."""
    temperature = MAIN_WORK.temperature
    drawable = checkpoint.tokenizer.drawable

    def make(model: PreTrainedModel, chosen: Callable[[int], int] | None = None) -> Reference:
        cheap = make_alone(model)
        if chosen is not None:
            choose_fewer(cheap, chosen)
        return Reference(cheap, drawable, temperature)

    makers: dict[str, Callable[[], Reference]] = {
        "bf16": lambda: checkpoint.get_reference(temperature, "bf16"),
        "int8": lambda: make(make_int8(checkpoint.model)),
        "int4": lambda: make(make_int4(checkpoint.model)),
        "1 % noise": lambda: make(_perturb(checkpoint.model)),
    }
    if own is not None:
        makers |= {
            "one expert fewer": lambda: make(checkpoint.model, lambda k: max(1, k - 1)),
            "half of the experts": lambda: make(checkpoint.model, lambda k: max(1, k // 2)),
        }
    comparisons = {}
    for name, make_cheat in makers.items():
        step(f"attack: {name}")
        side = Side.compute(make_cheat(), contexts)
        comparisons[name] = compare(side, judge, contexts, taus, temperature, projection)
    if own is not None:
        step("attack: own routers")
        comparisons["own routers"] = compare(own, judge, contexts, taus, temperature, projection)
    step("attack: T = .9")
    comparisons["T = .9"] = compare(judge, judge, contexts, taus, temperature, projection, _COOLER)
    return comparisons


def _read_routers(
    checkpoint: Checkpoint,
    contexts: list[Passage],
    judge: Side,
    own: Side,
    step: Callable[[str], None],
) -> RouterReading:
    """The ramp of a mixture. `own`: with its own routers."""
    step("reading the routers")
    ramped = make_alone(checkpoint.model)
    drawable, temperature = checkpoint.tokenizer.drawable, MAIN_WORK.temperature
    with count_experts(ramped) as count:
        Side.compute(Reference(ramped, drawable, temperature), contexts)
    return RouterReading(
        ramp=checkpoint.manifest.router_ramp,
        proposed=count.proposed,
        chosen=getattr(checkpoint.model.config, CHOSEN),
        needed=count.needed / (1 << EXPERT_BITS),
        divergence=measure_divergence(own, judge),
    )


def _perturb(model: PreTrainedModel) -> PreTrainedModel:
    """A copy with every weight off by about 1 %, the same on every run."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in other.parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter.device)
            parameter.mul_(1 + _PERTURBATION * noise)
    return other


@contextmanager
def _show_progress(quiet: bool) -> Iterator[Callable[[str], None]]:
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
        f"  margins   beyond the cap of {report['cap']:.3g} logits: {report['rate_beyond_cap']:.2g}"
        f" a token (at most 1e-10); {report['margin_once_in_1e8']:.2g} is passed once in 1e8",
        f"  envelope  held-out rates are {envelope['worst_bin']:.3g} of the bound in the worst "
        f"Gini bin, {envelope['worst_context']:.3g} in the worst context; α grows by "
        f"{envelope['alpha_growth']:.3g}",
        f"  manifest  {compared}",
        f"  sketch    worst block {honest['sketch_block']:.3g} of {honest['sketch_block_bound']}, "
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
    for heading in ("attack", "flips a token", "beyond the cap", "sketch fails", "logprobs fail"):
        table.add_column(heading, justify="left" if heading == "attack" else "right", no_wrap=True)
    for name, row in report["attacks"].items():
        table.add_row(
            name,
            *(f"{row[key]:.2g}" for key in ("rate_above_0", "rate_beyond_cap")),
            *(f"{100 * row[f'caught_by_{key}']:.0f} %" for key in ("sketch", "logprobs")),
        )
    words = [f"! {sentence}" for sentence in (*report["refused"], *report["findings"])]
    files = [_REPORT_FILE, _PLOT_FILE]
    if not report["refused"]:
        files.insert(0, f"{CALIBRATION_FILE} ({report['calibration'][:16]}…)")
    words.append(f"In {out}: {', '.join(files)}")
    return Group(Text("\n".join(lines)), table, Text("\n".join(words)))
