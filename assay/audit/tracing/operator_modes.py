"""Observes every operator that a step runs, through torch's dispatch mode, below autograd.

Forward and backward pass and the optimiser all pass through it, and a checkpointed layer's second
computation passes a second time. On a CPU they come in one order, because one thread runs them.
"""

from collections.abc import Callable
from typing import Any

from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from assay.audit.tracing.operator_calls import Run, TensorDigests, call_operator, run_operator
from assay.protocol.trace import OperatorRecord

Call = tuple[OpOverload, tuple[Any, ...], dict[str, Any]]


class OperatorMode(TorchDispatchMode):
    """Sees every operator that computes, in order, and runs it or not.

    Attributes:
        count: operators so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.namespace == "profiler":  # only marks times for profilers
            return func(*args, **(kwargs or {}))
        result = self.run(func, args, kwargs or {})
        self.count += 1
        return result

    def run(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of the operator."""
        raise NotImplementedError


class TraceMode(OperatorMode):
    """Passes on every operator's record, in the order in which they run.

    Args:
        keep: called with each record.
        digests: digests to use; None: new ones.
        run: runs each operator; another machine's way, if one is emulated.
    """

    def __init__(
        self,
        keep: Callable[[OperatorRecord], None],
        digests: TensorDigests | None = None,
        run: Run = run_operator,
    ) -> None:
        super().__init__()
        self._run = run
        self._keep = keep
        self._digests = TensorDigests() if digests is None else digests

    def run(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result, record = call_operator(func, args, kwargs, self._digests, self._run)
        self._keep(record)
        return result


class ReachedError(Exception):
    """The awaited operator has come: the rest of the step is not needed."""


class ReachMode(OperatorMode):
    """Lets operators run up to one operator, and passes that one on before it runs.

    Args:
        index: that operator's number, from 0.
        take: called with the operator. Then `ReachedError` ends the step.
    """

    def __init__(self, index: int, take: Callable[[Call], None]) -> None:
        super().__init__()
        self._index = index
        self._take = take

    def run(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.count == self._index:
            self._take((func, args, kwargs))
            raise ReachedError
        return func(*args, **kwargs)
