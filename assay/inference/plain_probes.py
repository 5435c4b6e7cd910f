"""What a class without a family must be, tried on the model itself: a continuous function of its
tokens, with a head that is known.

No table says what such a class computes. So everything is tried that a judge rests on: the same
bits again, whatever ran before and whatever the clock says; nothing but the tokens before a
position; no choice that the last bits of a number could turn; and two implementations that agree on
many tokens. Rows of probes are short, and a class may do something else from some length on. So
each number of its config that is a length is made small in a twin of the class, and tried on both
sides. One row is as long as any that a network reads.

This module does not know what a class does on other machines, nor in branches that no probe takes.
"""

import contextlib
import copy
import io
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from assay.inference.head import compute_logits
from assay.inference.implementations import (
    SPLIT_IMPLEMENTATION,
    find_pair,
    make_model,
    make_plain_twin,
)
from assay.inference.model_loading import outline_model
from assay.inference.plain.head import UnknownHeadError, find_head
from assay.inference.plain.states import get_plain_head, read_states, see_states
from assay.inference.plain.tracing import trace
from assay.inference.probes import LIMIT, Probe

#: Tokens of a probe's row; of a twin's; and what a length is in a twin.
_ROW, _TWIN_ROW, _SMALL = 384, 96, 32
#: Places where a row is cut, of a twin's row: on both sides of `_SMALL`.
_CUTS = (9, 31, 33, 65)
#: Tokens on which two implementations are compared when a model is adopted, and when a network is
#: published; and of one row.
ADOPT_TOKENS, PUBLISH_TOKENS, _COMPARED_ROW = 4_096, 100_000, 256
#: Words in the name of a number that is a length; words that are none.
_LENGTH = re.compile(
    r"window|chunk|context|position|block_size|seq|span|block_len|stride|length|ctx|mem_len|extent"
    r"|local_attention|index_topk"
)
_NO_LENGTH = re.compile(r"feed_forward|_type|theta|vocab|layers|num_")
#: Tokens of the longest row, where nobody says how long a network's are.
LONGEST = 1_024
#: Vocabulary of the twin whose memory is measured, tokens of its row, and how much larger than the
#: largest of what must be there a tensor may be.
_VOCABULARY, _VOCABULARY_ROW, _LARGER = 4_096, 32, 32
#: Seconds by which the clock is moved.
_MOVED = 1e7
_CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "time_ns", "monotonic_ns")
#: Of two probes at once, one would put the other's clocks back.
_moving = threading.Lock()
_ERRORS = (ValueError, RuntimeError, TypeError, AttributeError, LookupError, MemoryError)


@dataclass(frozen=True, slots=True)
class _Property:
    """One thing to try. `measure` returns the difference and what is allowed; or raises."""

    name: str
    about: str
    measure: Callable[[], tuple[float, float]]


class _Fault(ValueError):
    """What a property came to, in words."""


def probe_plain(
    model: PreTrainedModel, tokens: int = ADOPT_TOKENS, seed: int = 0, longest: int = LONGEST
) -> Iterator[Probe]:
    """Try all properties of a model that its own class reads, in fp32, the quick ones first.

    Args:
        tokens: on which two implementations are compared.
        longest: tokens of the longest row that is read of it.
    """
    for one in _Probes(model, tokens, seed, longest).list_properties():
        difference, allowed, fault = np.inf, 0.0, None
        try:
            with torch.inference_mode():
                difference, allowed = one.measure()
        except _Fault as error:
            fault = str(error)
        except _ERRORS as error:
            fault = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
        yield Probe(one.name, one.about, difference, allowed, fault)


class _Probes:
    def __init__(self, model: PreTrainedModel, tokens: int, seed: int, longest: int) -> None:
        self._model = make_plain_twin(model)
        self._source = model
        self._tokens = tokens
        self._random = np.random.default_rng(seed)
        reach = getattr(model.config, "max_position_embeddings", None) or _ROW
        self._row = self._draw(min(_ROW, reach) * 2 // 3)
        self._reach = min(_ROW, reach)
        self._longest = longest

    def list_properties(self) -> Iterator[_Property]:
        """In the order in which they are tried."""
        yield _Property("weights", "it changes its weights while it reads", self._try_weights)
        yield _Property("head", "its logits are not its output matrix's", self._try_head)
        yield _Property("silence", "it writes while it reads", self._try_silence)
        yield _Property("again", "the same tokens once more draw otherwise", self._try_again)
        yield _Property("clock", "it reads the clock", self._try_clock)
        yield _Property("order", "what was read before changes what is drawn", self._try_order)
        yield _Property(
            "prefix",
            "something other than the tokens before draws a token",
            lambda: self._try_prefix(self._model, self._row, self._reach),
        )
        yield _Property("batch", "another row changes what a token draws", self._try_batch)
        yield _Property("choices", "it is no continuous function", lambda: self._trace(self._model))
        yield _Property("memory", "its memory grows with the vocabulary's square", self._try_memory)
        for place, value in list_lengths(self._model.config):
            yield _Property(
                f"length {'.'.join(place)}",
                f"around {'.'.join(place)} = {value:,} of its config, made {_SMALL}, it is no "
                "function of the tokens before",
                lambda place=place: self._try_length(place),  # type: ignore[misc]
            )
        if self._longest > self._reach:
            yield _Property(
                "longest",
                f"in a row of {self._longest:,} tokens it is no function of the tokens before",
                # built anew: a class may have put other modules in place at its first short row
                lambda: self._try_prefix(
                    self._make_twin(), self._draw(self._longest * 7 // 8), self._longest
                ),
            )
        first, second = find_pair(self._source)
        compared = {SPLIT_IMPLEMENTATION: min(self._tokens, ADOPT_TOKENS)} | {second: self._tokens}
        for other, tokens in compared.items():  # appeals are read by the former
            yield _Property(
                f"{first} and {other}",
                f"two implementations differ within {tokens:,} tokens: it chooses somewhere",
                lambda other=other, tokens=tokens: self._compare(  # type: ignore[misc]
                    first, other, tokens
                ),
            )

    # --- one property each

    def _try_weights(self) -> tuple[float, float]:
        """A class may do so at its first pass: so one that has read nothing is tried."""
        twin = self._make_twin()
        before = _sum_bits(twin)
        self._read(self._row, twin)
        after = _sum_bits(twin)
        changed = [name for name, bits in before.items() if after[name] != bits]
        if changed:
            raise _Fault(f"it changes {changed[0]}: a learner would publish what it has made of it")
        return 0.0, 0.0

    def _try_head(self) -> tuple[float, float]:
        try:
            found = find_head(self._model)
        except UnknownHeadError as error:
            raise _Fault(str(error)) from None
        known = get_plain_head(self._source)
        if known is not None and found != known:
            raise _Fault(f"{found} is not {known}, which was found before")
        other = self._make_twin()  # a bias that is all zeros now, and is not when it has learned
        with torch.inference_mode(mode=False):
            moved = {
                name: weight + torch.randn_like(weight)
                for name, weight in other.state_dict().items()
                if weight.dim() < 2 or not bool(weight.any())
            }
            other.load_state_dict(moved, assign=True, strict=False)
            other.tie_weights()
        try:
            learned = find_head(other)
        except UnknownHeadError as error:
            raise _Fault(f"with other weights {error}") from None
        if learned != found:
            raise _Fault(f"with other weights it is {learned}")
        return 0.0, 0.0

    def _try_silence(self) -> tuple[float, float]:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            self._read(self._row)
        if said.getvalue():
            raise _Fault(f"it prints {said.getvalue()[:60]!r}")
        return 0.0, 0.0

    def _try_again(self) -> tuple[float, float]:
        first = self._read(self._row)
        for _ in range(3):
            _require_same(first, self._read(self._row))
        other = (
            self._make_twin()
        )  # counts that a model keeps begin anew, and what it draws at first
        _require_same(first, self._read(self._row, other))
        return 0.0, 0.0

    def _try_clock(self) -> tuple[float, float]:
        first = self._read(self._row)
        with _moving_clock() as asked:
            moved = self._read(self._row)
        _require_same(first, moved)
        if asked:
            raise _Fault(f"it calls time.{asked[0]}")
        return 0.0, 0.0

    def _try_order(self) -> tuple[float, float]:
        first = self._read(self._row)
        for count in (self._reach, 5, 64):
            self._read(self._draw(min(count, self._reach)))
            _require_same(first, self._read(self._row))
        return 0.0, 0.0

    def _try_prefix(self, model: Any, row: list[int], reach: int) -> tuple[float, float]:
        """Rows that begin alike, and go on otherwise or not at all: at one place each, they have
        one state."""
        whole = self._read([*row, *self._draw(reach - len(row))], model)
        cuts = {*(cut for cut in _CUTS if cut < len(row)), len(row) // 2 + 1, len(row)}
        off = 0.0
        for cut in sorted(cuts):
            alone = self._read(row[:cut], model)
            off = max(off, _compare(alone, whole[:cut]))
        return off, _allow(whole)

    def _try_batch(self) -> tuple[float, float]:
        alone = self._read(self._row)
        rows = torch.tensor([self._row, self._row[::-1], self._draw(len(self._row))])
        together = read_states(self._model, rows.to(self._model.device))[0]
        return _compare(alone, together), _allow(alone)

    def _trace(self, model: Any, row: list[int] | None = None) -> tuple[float, float]:
        ids = torch.tensor([row or self._row[:_TWIN_ROW]], device=model.device)
        with torch.inference_mode(mode=False):
            found = trace(model, ids).findings
        if found:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            raise _Fault(f"{found[0]}{more}")
        return 0.0, 0.0

    def _try_memory(self) -> tuple[float, float]:
        model, size = self._model, self._model.config.vocab_size
        if size < _VOCABULARY:
            model, size = self._make_twin(("vocab_size",), _VOCABULARY), _VOCABULARY
        ids = torch.tensor([self._draw(_VOCABULARY_ROW)], device=model.device)
        with torch.inference_mode(mode=False):
            found = trace(model, ids)
        weights = max(weight.numel() for weight in model.parameters())
        needed = max(weights, _VOCABULARY_ROW * max(size, 256 * model.config.hidden_size))
        if found.largest > _LARGER * needed:
            raise _Fault(f"{found.largest_in} makes {found.largest:,} numbers for {size:,} ids")
        return 0.0, 0.0

    def _try_length(self, place: tuple[str, ...]) -> tuple[float, float]:
        try:
            twin = self._make_twin(place, _SMALL)
        except _ERRORS as error:
            raise _Fault(f"no twin has it so small, so it is not tried: {error}"[:200]) from None
        row, reach = self._draw(_TWIN_ROW - 8), _TWIN_ROW
        try:
            self._read(row, twin)
        except _ERRORS:
            if "position" not in place[-1]:
                raise
            reach = _SMALL  # it ends there: no longer context is allowed
            row = row[: _SMALL - 4]
        off, allowed = self._try_prefix(twin, row, reach)
        self._trace(twin, row)
        return off, allowed

    def _compare(self, first: str, second: str, tokens: int) -> tuple[float, float]:
        """The largest difference between two implementations' logits, on random tokens."""
        one, other = (make_model(self._source, name) for name in (first, second))
        length = min(_COMPARED_ROW, self._reach)
        off, spread = 0.0, 0.0
        for _ in range(-(-tokens // length)):
            ids = torch.tensor([self._draw(length)], device=self._model.device)
            logits = [
                compute_logits(side, side.model(ids).last_hidden_state[0]) for side in (one, other)
            ]
            off = max(off, _compare(*logits))
            spread = spread or float(logits[0].std())
        return off, LIMIT * max(spread, 1e-6)

    # --- parts

    def _draw(self, count: int) -> list[int]:
        size = self._model.config.vocab_size
        ids: list[int] = self._random.integers(0, size, max(0, count)).tolist()
        return ids

    def _read(self, row: list[int], model: Any = None) -> Tensor:
        ids = torch.tensor([row], device=self._model.device)
        return read_states(model or self._model, ids)[0]

    def _make_twin(self, place: tuple[str, ...] = (), value: int = 0) -> Any:
        """A model of the same class built once more, with another number in its config unless no
        place is named, over the same weights where their shapes are the same."""
        config = copy.deepcopy(self._model.config)
        if place:
            _set_length(config, place, value)
        with torch.inference_mode(mode=False):
            twin = outline_model(config, type(self._model))
            here = self._model.state_dict()
            filled = {
                name: _fill(here.get(name), weight) for name, weight in twin.state_dict().items()
            }
            twin.load_state_dict(filled, assign=True, strict=False)
            twin.tie_weights()
        head = get_plain_head(self._source)
        assert head is not None
        see_states(twin, head.output)
        twin.set_attn_implementation(self._model.config._attn_implementation)  # noqa: SLF001
        return twin.requires_grad_(False)


def _sum_bits(model: Any) -> dict[str, int]:
    """A sum of each weight's bits, by its name: no weight is copied."""
    return {
        name: int(weight.detach().contiguous().view(torch.int32).sum(dtype=torch.int64))
        for name, weight in model.state_dict().items()
        if weight.dtype == torch.float32
    }


def _fill(own: Tensor | None, wanted: Tensor) -> Tensor:
    """A weight of a twin: the model's, or its rows over and over."""
    if own is not None and own.shape == wanted.shape:
        return own
    if own is not None and own.shape[1:] == wanted.shape[1:] and own.dim():
        return own[torch.arange(len(wanted), device=own.device) % len(own)]
    if not wanted.is_meta:
        return wanted
    generator = torch.Generator().manual_seed(0)
    return torch.randn(wanted.shape, generator=generator) / max(1, wanted[0].numel()) ** 0.5


def _set_length(config: Any, place: tuple[str, ...], value: int) -> None:
    """Set a number of a config, or all lengths of a list."""
    *before, last = place
    holder: Any = config
    for name in before:
        holder = _step(holder, name)
    old = _step(holder, last)
    new: Any = value
    if isinstance(old, list | tuple):
        new = [value if type(one) is int and one > 1 else one for one in old]
    if isinstance(holder, dict):
        holder[last] = new
    else:
        setattr(holder, last, new)


def _step(holder: Any, name: str) -> Any:
    if isinstance(holder, list | tuple):
        return holder[int(name)]
    return holder[name] if isinstance(holder, Mapping) else getattr(holder, name)


def list_lengths(config: Any) -> list[tuple[tuple[str, ...], int]]:
    """The numbers of a config that are lengths, by their places in it."""
    return sorted(_iterate_lengths(config.to_dict(), ()))


def _iterate_lengths(
    fields: Mapping[str, Any], place: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], int]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _iterate_lengths(value, (*place, str(name)))
        elif isinstance(value, list | tuple):
            numbers = [one for one in value if type(one) is int and one > 1]
            if numbers and _is_length(str(name)):
                yield (*place, str(name)), max(numbers)
            for number, one in enumerate(value):
                if isinstance(one, Mapping):
                    yield from _iterate_lengths(one, (*place, str(name), str(number)))
        elif type(value) is int and value > 1 and _is_length(str(name)):
            yield (*place, str(name)), value


def _is_length(name: str) -> bool:
    return _LENGTH.search(name) is not None and _NO_LENGTH.search(name) is None


@contextlib.contextmanager
def _moving_clock() -> Iterator[list[str]]:
    """Move the clocks of the module `time`, and list which were read. A program has other threads,
    which tell their own time meanwhile: theirs stays as it is."""
    asked: list[str] = []
    reader = threading.get_ident()

    def move(name: str) -> Callable[[], Any]:
        def read() -> Any:
            if threading.get_ident() != reader:
                return before[name]()
            asked.append(name)
            return before[name]() + type(before[name]())(_MOVED)

        return read

    with _moving:
        before = {name: getattr(time, name) for name in _CLOCKS}
        for name in _CLOCKS:
            setattr(time, name, move(name))
        try:
            yield asked
        finally:
            for name, clock in before.items():
                setattr(time, name, clock)


def _compare(one: Tensor, other: Tensor) -> float:
    off = (one - other).abs().max()
    return float(off) if bool(torch.isfinite(off)) else float("inf")


def _allow(states: Tensor) -> float:
    return LIMIT * max(float(states.std()), 1e-6)


def _require_same(one: Tensor, other: Tensor) -> None:
    if not torch.equal(one, other):
        off = _compare(one, other)
        raise _Fault(f"states differ by {off:.2g}, and every bit should be the same")
