"""Statistics compared with their thresholds, each with its unit and its bound."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log

from assay.audit.explain.window_case import OpenedFile, Rejudgment, WindowCase
from assay.protocol.parameters import PROTOCOL_VERSION, Tests
from assay.protocol.reason import Reason
from assay.protocol.submission import get_id_bits
from assay.verification import Refused, get_part_limits
from assay.verification.bounds import (
    LEDGER_CAPITAL,
    LOG_CAPITAL,
    LOGPROB_MAX,
    LOGPROB_RMS,
    MARGIN_MAX,
    SKETCH_BLOCK,
    SKETCH_MEAN,
    Bound,
)


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of a window's case, with its bound."""

    name: str  # the measured quantity
    value: float | int | str  # in `unit`, or text
    allowed: float | int | str | None  # likewise; None if there is no bound
    unit: str
    exceeded: bool  # whether the bound was exceeded
    words: str  # value and bound as a sentence for people


def list_measures(
    facts: WindowCase, reason: Reason | None, statistics: Mapping[str, float]
) -> tuple[Measure, ...]:
    """The figures that a reason depends on, as far as they are known. `statistics` are in the units
    of a verdict's JSON, and empty if no model was run."""
    tests, rejudgment = facts.context.parameters.tests, facts.rejudgment
    measured: tuple[Measure, ...] = ()
    match reason:
        case Reason.SAMPLING_MISMATCH:
            measured = _measure_sampling(statistics, rejudgment, tests)
        case Reason.LEDGER_MISMATCH:
            measured = _measure_ledger(statistics, tests)
        case Reason.SKETCH_MISMATCH:
            measured = _measure_sketch(statistics, rejudgment, tests)
        case Reason.LOGPROB_MISMATCH:
            measured = _measure_logprobs(statistics, rejudgment, tests)
        case Reason.ACCEPTED if statistics:
            measured = (
                *_measure_sampling(statistics, rejudgment, tests),
                *_measure_sketch(statistics, rejudgment, tests),
                *_measure_logprobs(statistics, rejudgment, tests),
                *_measure_ledger(statistics, tests),
            )
        case Reason.NOT_REVEALED:
            measured = _compare_size(rejudgment.opened)
        case Reason.TOO_LARGE:
            measured = _measure_parts(facts)
        case Reason.MALFORMED | Reason.WRONG_HEADER | Reason.WRONG_CHECKPOINT:
            measured = _compare_header(facts)
        case Reason.WRONG_TERMINATION:
            measured = _measure_length(rejudgment)
        case Reason.TOKEN_OUT_OF_RANGE:
            measured = _measure_token(rejudgment, facts)
    return measured


def _compare(
    bound: Bound, value: float, tests: Tests, name: str | None = None, unit: str | None = None
) -> Measure:
    """A statistic against its bound, under another name or with another unit if one is given."""
    allowed = bound.compute(tests)
    exceeded = bool(bound.is_exceeded(value, allowed))
    return _write_limit(
        name or bound.label, value, allowed, unit or bound.unit, exceeded, "{:.6g}".format
    )


def _write_limit(
    name: str,
    value: float,
    allowed: float,
    unit: str,
    exceeded: bool,
    write: Callable[[float], str],
) -> Measure:
    words = f"{write(value)} {unit}, where at most {write(allowed)} is allowed"
    return Measure(name, value, allowed, unit, exceeded, words)


# --- the model's tests


def _measure_sampling(
    statistics: Mapping[str, float], rejudgment: Rejudgment, tests: Tests
) -> tuple[Measure, ...]:
    if rejudgment.measured is not None and "margin_max" not in statistics:
        statistics = {
            "margin_max": rejudgment.measured.margin,
            "log_capital": rejudgment.measured.statistics.log_capital,
        }
    if not {"margin_max", "log_capital"} <= statistics.keys():  # a stranger's may lack them
        return ()
    return (
        _compare(MARGIN_MAX, statistics["margin_max"], tests),
        _measure_odds(LOG_CAPITAL, statistics["log_capital"], tests, "an honest rollout"),
    )


def _measure_ledger(statistics: Mapping[str, float], tests: Tests) -> tuple[Measure, ...]:
    capital = statistics.get("ledger_capital")
    if capital is None:
        return ()
    return (_measure_odds(LEDGER_CAPITAL, capital, tests, "an honest seat"),)


def _measure_odds(bound: Bound, log_capital: float, tests: Tests, who: str) -> Measure:
    """A capital, which starts at 1: the value of a bet against honest work."""
    allowed = bound.compute(tests)
    odds = round(exp(allowed))
    exceeded = bool(bound.is_exceeded(log_capital, allowed))
    words = (
        f"a bet of 1 against honest work has grown to {_write_power(log_capital)}; {who} gets to "
        f"{odds:,} (the bound) with a probability of at most 1 in {odds:,}"
    )
    return Measure(bound.label, log_capital, allowed, "natural logarithm", exceeded, words)


def _write_power(logarithm: float) -> str:
    power = logarithm / log(10)
    if power < 6:
        return f"{10**power:,.4g}"
    return f"10^{power:.1f}"


def _measure_sketch(
    statistics: Mapping[str, float], rejudgment: Rejudgment, tests: Tests
) -> tuple[Measure, ...]:
    unit = "steps a token"
    measures = []
    mean = statistics.get("sketch_mean")
    close = rejudgment.measured
    if close is not None:
        first, end, worst = close.statistics.block
        name = f"fingerprint distance over tokens {first} to {end - 1}"
        measures.append(_compare(SKETCH_BLOCK, worst, tests, name, unit))
        mean = close.statistics.sketch_mean
    if mean is not None:
        whole = _compare(SKETCH_MEAN, mean, tests, "fingerprint distance over the rollout", unit)
        measures.append(whole)
    if close is None and mean is not None and mean > 0 and not whole.exceeded:
        block = SKETCH_BLOCK.compute(tests)
        words = f"not known here; at most {block:g} {unit} is allowed over each 32 tokens"
        measures.append(
            Measure("fingerprint distance over a block", "unknown", block, unit, False, words)
        )
    return tuple(measures)


def _measure_logprobs(
    statistics: Mapping[str, float], rejudgment: Rejudgment, tests: Tests
) -> tuple[Measure, ...]:
    close = rejudgment.measured
    value = statistics.get("logprob_rms") if close is None else close.statistics.logprob_rms
    if value is None:
        return ()
    rms = _compare(LOGPROB_RMS, value, tests, "log-probabilities, root mean square")
    name = "log-probabilities, largest difference"
    measures = [rms]
    if close is not None:
        claimed, measured = close.logprobs
        measures.append(_compare(LOGPROB_MAX, abs(claimed - measured), tests, name))
    elif not rms.exceeded and rejudgment.verdict is None:
        largest = LOGPROB_MAX.compute(tests)
        words = f"not known here; at most {largest:.6g} nats is allowed at each position"
        measures.append(Measure(name, "unknown", largest, "nats", False, words))
    return tuple(measures)


# --- without the model


def _compare_size(opened: OpenedFile) -> tuple[Measure, ...]:
    """The size of a file that is cut off."""
    if opened.size is None or opened.opening is None:
        return ()
    size, whole = opened.size, opened.opening.file_bytes
    words = f"{size:,} bytes, and by its own index it has {whole:,}"
    return (Measure("size of the file", size, whole, "bytes", size < whole, words),)


def _measure_parts(facts: WindowCase) -> tuple[Measure, ...]:
    measures = []
    work, opening = facts.context.parameters.work, facts.rejudgment.opened.opening
    committed = facts.context.commitments.get(facts.hotkey)
    if committed is not None:
        measures.append(_count("groups committed", committed.groups, work.group_cap, "groups"))
    if opening is not None:
        limits = get_part_limits(work, opening.header.id_bits)
        for part in ("head", "ids", "proofs"):
            largest = max(getattr(sizes, part) for sizes in opening.sizes)
            name = f"largest {part} of a group"
            measures.append(_count(name, largest, getattr(limits, part), "bytes"))
    return tuple(measures)


def _count(name: str, value: int, allowed: int, unit: str) -> Measure:
    return _write_limit(name, value, allowed, unit, value > allowed, "{:,.0f}".format)


def _compare_header(facts: WindowCase) -> tuple[Measure, ...]:
    """The header's fields that differ from their expected values."""
    header, context, outline = (
        facts.rejudgment.opened.header,
        facts.context,
        facts.rejudgment.outline,
    )
    if header is None:
        return ()
    committed = context.commitments.get(facts.hotkey)
    id_bits = header.id_bits if outline is None else get_id_bits(len(outline.tokenizer.drawable))
    pairs = (
        ("version", header.version, PROTOCOL_VERSION),
        ("parameters", header.parameters.hex(), context.parameters.digest.hex()),
        ("window", header.window, context.window),
        ("hotkey", header.hotkey.hex(), facts.hotkey.hex()),
        ("groups", header.groups, committed.groups if committed else 0),
        ("group size", header.group_size, context.parameters.work.group_size),
        ("bits of an id", header.id_bits, id_bits),
        ("checkpoint", header.checkpoint.hex(), context.checkpoint.hex()),
    )
    return tuple(
        Measure(f"header: {name}", has, wants, "", True, f"{has}, and the window has {wants}")
        for name, has, wants in pairs
        if has != wants
    )


def _measure_length(rejudgment: Rejudgment) -> tuple[Measure, ...]:
    if rejudgment.tokens is None or rejudgment.outline is None:
        return ()
    manifest, tokens = rejudgment.outline.manifest, rejudgment.tokens
    end = next((i + 1 for i, token in enumerate(tokens) if token in manifest.end_tokens), None)
    stop = min(end or manifest.max_tokens, manifest.max_tokens)
    why = "its first end token" if end == stop else f"the longest length, {manifest.max_tokens}"
    words = f"{len(tokens)} tokens, where it ends after {stop}: {why}"
    return (Measure("length of the completion", len(tokens), stop, "tokens", True, words),)


def _measure_token(rejudgment: Rejudgment, facts: WindowCase) -> tuple[Measure, ...]:
    verdict, tokens = rejudgment.verdict, rejudgment.tokens
    if tokens is None or rejudgment.outline is None or not isinstance(verdict, Refused):
        return ()
    drawable = rejudgment.outline.tokenizer.drawable
    token = tokens[verdict.fault.token or 0]
    words = (
        f"id {token}; the model may draw {int(drawable.sum()):,} of the ids from 0 to "
        f"{len(drawable) - 1:,}"
        + ("" if token >= len(drawable) else ", and this one has no tokenizer entry, or is padding")
    )
    return (Measure("token id", token, len(drawable) - 1, "", True, words),)
