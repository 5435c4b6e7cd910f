"""Finds where a class chooses hard: which operators run on the numbers of a pass, and what becomes
of their results.

Two implementations differ in the last bits. A continuous function of them differs in the last bits,
too. A choice does not: once in some thousand tokens two numbers are so close that one
implementation takes the first and the other the second, and everything behind it jumps. Such a
class passes every other probe, and its honest miners would be refused.

So every number that a weight makes of a token is followed through a pass. An integer or a
boolean that is made of such numbers (`topk`'s places, an `argmax`, a comparison, a cast) decides
something as soon as a number is computed with it, and a branch of Python as soon as it is asked
for. Rounding decides at once. Values of `topk`, `sort`, `max` are continuous, and their places are
not. A `where` whose two sides meet at its threshold is continuous: that is tried.

What this module does not see: choices within a single operator of torch, of which none is known
that classes call; and branches that the tokens of this pass do not take.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Operators whose results are random.
_RANDOM = frozenset(
    {
        *("rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm"),
        *("bernoulli", "normal", "uniform", "exponential", "random", "log_normal", "binomial"),
        *("multinomial", "native_dropout", "dropout", "poisson", "geometric", "cauchy"),
        *("rrelu_with_noise", "standard_gamma"),
    }
)
#: Operators that round: numbers in, numbers out, with jumps. And how the names of others begin.
_ROUNDING = frozenset(
    {
        *("round", "floor", "ceil", "trunc", "frac", "fix", "sign", "sgn", "floor_divide", "fmod"),
        *("remainder", "heaviside", "copysign", "hardshrink", "frexp", "nextafter", "mode"),
        *("atan2", "angle", "_unique", "_unique2", "unique_dim", "unique_consecutive"),
    }
)
_QUANTIZING = ("fake_quantize", "_fake_quantize", "quantize_", "_quantize")
#: Methods that hand all values of a tensor to Python, past its operators.
_READING = frozenset({"tolist", "numpy", "__array__", "__dlpack__", "__cuda_array_interface__"})
#: The relative distance of fp32 numbers: what is coarser rounds.
_FINE = torch.finfo(torch.float32).eps
#: Comparisons that tell apart nothing but numbers that are none.
_GUARDS = frozenset({"isnan", "isinf", "isfinite", "isposinf", "isneginf"})
_COMPARISONS = frozenset({"gt", "ge", "lt", "le", "eq", "ne"})
#: Operators by which Python asks for a value.
_ASKING = frozenset({"_local_scalar_dense", "is_nonzero", "equal", "allclose"})
#: Elements next to a threshold that are looked at, and what counts as a jump: beyond this many
#: times their distance from it, and this share of the numbers' deviation. And the share of the
#: compared numbers' deviation up to which one of them is next to it.
_NEAREST, _SLOPE, _JUMP, _NEXT = 16, 64.0, 1e-3, 0.1
#: Tokens of a pass without values.
_OUTLINED = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a class.

    Attributes:
        operator: of torch, by its name. module: in which it runs, by its place and class.
        about: what is wrong with it.
    """

    operator: str
    module: str
    about: str

    def __str__(self) -> str:
        return f"{self.operator} in {self.module}: {self.about}"


@dataclass(frozen=True, slots=True)
class Trace:
    """What a pass did. `largest`: elements of the largest tensor that it made, and where."""

    findings: tuple[Finding, ...]
    largest: int
    largest_in: str


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a discrete tensor is from.

    Attributes:
        distance: of each element from the threshold. spread: the compared numbers' deviation.
    """

    operator: str
    module: str
    distance: Tensor | None = None
    spread: float = 0.0


def trace(model: nn.Module, ids: Tensor) -> Trace:
    """Follow one pass of a class over tokens, int64 [B, T]."""
    with torch.no_grad(), _Tracer(model, ids) as tracer, _naming(model, tracer), _Reading(tracer):
        model(input_ids=ids, use_cache=False)
    return Trace(tuple(tracer.findings.values()), tracer.largest, tracer.largest_in)


def trace_outline(model: nn.Module) -> tuple[Finding, ...]:
    """What a pass over tokens without values shows of hard choices, up to where it needs values.
    A finding is one; none proves nothing."""
    ids = torch.zeros((1, _OUTLINED), dtype=torch.int64, device="meta")
    tracer = _Tracer(model, ids)
    with torch.no_grad(), tracer, _naming(model, tracer), _Reading(tracer), suppress(Exception):
        model(input_ids=ids, use_cache=False)
    return tuple(tracer.findings.values())


@contextmanager
def _naming(model: nn.Module, tracer: "_Tracer") -> Iterator[None]:
    handles = []
    for name, module in model.named_modules():
        label = f"{name or 'the model'} ({type(module).__name__})"

        def enter(_: Any, __: Any, label: str = label) -> None:
            tracer.places.append(label)

        def leave(_: Any, __: Any, ___: Any) -> None:
            tracer.places.pop()

        handles += [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave, always_call=True),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Reading(TorchFunctionMode):
    """Sees methods that read a tensor's values without an operator."""

    def __init__(self, tracer: "_Tracer") -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name == "__get__":  # of a property
            name = getattr(getattr(func, "__self__", None), "__name__", "")
        if name in _READING and args and isinstance(args[0], Tensor):
            self._tracer.note_read(name, args[0])
        return func(*args, **(kwargs or {}))


class _Tracer(TorchDispatchMode):
    """Marks storages: weights, what follows from the tokens' ids alone, numbers of the pass, which
    a weight makes of ids, and what was decided by these.

    Args:
        model: whose pass is followed. ids: that it reads.
    """

    def __init__(self, model: nn.Module, ids: Tensor) -> None:
        super().__init__()
        self.findings: dict[tuple[str, str], Finding] = {}
        self.places: list[str] = []
        self.largest, self.largest_in = 0, ""
        self._weights = {_place(weight) for weight in model.parameters()}
        self._of_ids = {_place(ids)}
        self._numbers: set[int] = set()
        self._decided: dict[int, _Origin] = {}
        self._alive: list[Tensor] = []  # a freed storage's place would be another's

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.partition("::")[2]  # noqa: SLF001 - it has no other
        name = name.removesuffix("_")  # in place or not
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        has_numbers = any(_place(one) in self._numbers for one in given)
        origins = [self._decided[_place(one)] for one in given if _place(one) in self._decided]
        if name in _ASKING:  # before it is asked for: tensors without values have no answer
            self._note_branch(name, origins, has_numbers=has_numbers)
            if name == "_local_scalar_dense" and given[0].is_meta and not (origins or has_numbers):
                return 1  # of masks and positions: whether all of them are as usual
        found = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
        for one in made:
            self._note_size(one, name)
        if name in _RANDOM and any(one.is_floating_point() for one in made) and made[0].numel():
            self._find(name, "its results are random")
        if not has_numbers:
            self._follow(name, given, made)
        if name == "embedding" and made[0].is_floating_point():
            return found
        if origins and name not in _ASKING:
            self._use(name, args, made, origins, has_numbers=has_numbers)
        if not has_numbers:
            return found
        numbers = [one for one in given if _place(one) in self._numbers]
        if any(map(_has_fractions, made)) and _rounds(name, args, kwargs, numbers, made):
            self._find(name, "it rounds numbers of the pass, and jumps where they do")
        if name not in _GUARDS and not _is_guard(name, args):
            self._mark(made, _Origin(name, self._module, *_measure_distance(name, args)))
        return found

    def note_read(self, name: str, read: Tensor) -> None:
        """Python takes all values of a tensor."""
        origin = self._decided.get(_place(read))
        self._note_branch(
            name, [] if origin is None else [origin], has_numbers=_place(read) in self._numbers
        )

    def _follow(self, name: str, given: list[Tensor], made: list[Tensor]) -> None:
        """What becomes of weights and ids before there are numbers."""
        from_ids = any(_place(one) in self._of_ids for one in given)
        from_weights = any(_place(one) in self._weights for one in given)
        if name == "embedding" or (from_ids and from_weights):
            self._mark(made)
        elif from_ids or from_weights:
            self._alive += made
            (self._of_ids if from_ids else self._weights).update(map(_place, made))

    @property
    def _module(self) -> str:
        return self.places[-1] if self.places else "the model"

    def _note_branch(self, name: str, origins: list[_Origin], *, has_numbers: bool) -> None:
        """Python asks for a value."""
        for origin in origins[:1]:
            self._find(origin.operator, _explain(origin.operator, name), origin.module)
        if has_numbers:
            self._find(name, "the code of the class decides by a number of the pass")

    def _note_size(self, one: Tensor, name: str) -> None:
        if one.untyped_storage().nbytes() // one.element_size() > self.largest:
            self.largest = one.untyped_storage().nbytes() // one.element_size()
            self.largest_in = f"{name} in {self._module}"

    def _find(self, operator: str, about: str, module: str | None = None) -> None:
        place = self._module if module is None else module
        kind = place.partition("(")[2]  # one finding for all layers alike
        self.findings.setdefault((operator, kind), Finding(operator, place, about))

    def _mark(self, made: list[Tensor], origin: _Origin | None = None) -> None:
        for one in made:
            self._alive.append(one)
            if _has_fractions(one):
                self._numbers.add(_place(one))
            elif origin is not None:
                self._decided.setdefault(_place(one), origin)

    def _use(
        self,
        name: str,
        args: tuple[Any, ...],
        made: list[Tensor],
        origins: list[_Origin],
        *,
        has_numbers: bool,
    ) -> None:
        """What was decided is used: for numbers, or for further decisions."""
        origin = origins[0]
        if any(one.is_floating_point() for one in made):
            if not (name == "where" and _is_continuous(args, origin)):
                self._find(origin.operator, _explain(origin.operator, name), origin.module)
            self._mark([one for one in made if one.is_floating_point()])
        elif not has_numbers:
            self._mark(made, origin)


def _place(one: Tensor) -> int:
    return int(one.untyped_storage()._cdata)  # noqa: SLF001 - meta tensors have no other


def _explain(operator: str, used: str) -> str:
    how = "a branch of its code" if used in _ASKING else f"`{used}`"
    return (
        f"it chooses by numbers of the pass, and {how} uses the choice: two implementations choose "
        "differently where two numbers are close"
    )


def _is_guard(name: str, args: tuple[Any, ...]) -> bool:
    """Whether a comparison is with an infinite number."""
    if name not in _COMPARISONS or len(args) < 2 or isinstance(args[1], Tensor):
        return False
    return abs(float(args[1])) == float("inf")


def _has_fractions(one: Tensor) -> bool:
    return one.is_floating_point() or one.is_complex()


def _rounds(
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    numbers: Sequence[Tensor],
    made: Sequence[Tensor],
) -> bool:
    """Whether an operator rounds numbers: by its name, or to a type of fewer digits."""
    if name in _ROUNDING or name.startswith(_QUANTIZING):
        return True
    if name == "div" and kwargs.get("rounding_mode") is not None:
        return True
    if name == "threshold" and len(args) > 2:
        return bool(args[1] != args[2])  # else its sides meet
    before = min((torch.finfo(one.dtype).eps for one in numbers if _has_fractions(one)), default=1)
    coarsest = max(torch.finfo(one.dtype).eps for one in made if _has_fractions(one))
    return coarsest > max(before, _FINE)


def _measure_distance(name: str, args: tuple[Any, ...]) -> tuple[Tensor | None, float]:
    """Distances from a comparison's threshold, and the deviation of what is compared."""
    if name not in _COMPARISONS or not isinstance(args[0], Tensor):
        return None, 0.0
    compared = args[0].detach()
    if not compared.is_floating_point():
        return None, 0.0
    spread = 0.0 if compared.is_meta or compared.numel() < 2 else float(compared.std())
    return (compared - args[1]).abs(), spread


def _is_continuous(args: tuple[Any, ...], origin: _Origin) -> bool:
    """Whether the two sides of a `where` meet at the threshold of its comparison. Where no number
    is next to it, they come closer the nearer a number is."""
    if origin.distance is None or len(args) < 3:
        return False
    if origin.distance.is_meta:  # who knows: a pass with values tells
        return True
    one, other = (torch.as_tensor(side, dtype=torch.float32) for side in args[1:3])
    gap = (one - other).abs()
    try:
        gap, distance = torch.broadcast_tensors(gap, origin.distance)
    except RuntimeError:
        return False
    nearest = distance.flatten().topk(min(_NEAREST, distance.numel()), largest=False)
    gaps = gap.flatten()[nearest.indices]
    if float(nearest.values.min()) > _NEXT * origin.spread:
        return bool(gaps.median() <= gap.median())
    spread = float(gap.std()) if gap.numel() > 1 else 0.0
    return bool((gaps <= _SLOPE * nearest.values + _JUMP * spread).all())
