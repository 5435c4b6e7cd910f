"""The share of a device's memory that a forward pass takes, decided before it begins.

A plan follows from the model, the device's memory and the operator's share when a model is loaded,
and stays. The amount that is computed together decides the last bits, and should not depend on
other programs on the machine. If memory runs out all the same, the plan is halved.

It does not count the memory of an allocator, a library's workspace or another program.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from assay.inference.placing.devices import (
    CPU,
    MemoryLackError,
    explain_lack,
    free_memory,
    get_free_memory,
    require_lack,
)
from assay.inference.placing.model_sizes import (
    ELEMENTS_MAX,
    ELEMENTS_MAX_CPU,
    TOKENS_MAX,
    MemoryPlan,
    ModelShape,
)

logger = logging.getLogger("assay")

_T = TypeVar("_T")

#: Bytes of a float32.
_FLOAT = 4
#: Bytes of one pass's states, and of the logits that exist at once. On a CPU more does not pay:
#: matrices of this size keep it busy, and smaller ones stay in its caches. Tuning.
_PASS_BYTES_CPU, _LOGIT_BYTES_CPU = 512 << 20, 64 << 20
#: Shares (one in …) of a GPU's free memory. The rest is for the allocator's cache.
_PASS_SHARE, _LOGIT_SHARE = 4, 8


def plan_memory(shape: ModelShape, device: str, memory_share: float) -> MemoryPlan:
    """The plan of a loaded model. Sizes are powers of two: a little more or less memory changes
    nothing.

    Args:
        device: of the model, as `find_device` returns it.
        memory_share: most of the memory that is free there now.
    """
    free = get_free_memory(device)
    allowed = None if free is None else int(free * memory_share)
    pass_bytes, logit_bytes = _PASS_BYTES_CPU, _LOGIT_BYTES_CPU
    elements_max = ELEMENTS_MAX_CPU
    if allowed is not None:
        pass_share, logit_share = allowed // _PASS_SHARE, allowed // _LOGIT_SHARE
        if device == CPU:
            pass_bytes, logit_bytes = min(pass_bytes, pass_share), min(logit_bytes, logit_share)
        else:
            pass_bytes, logit_bytes, elements_max = pass_share, logit_share, ELEMENTS_MAX
    return MemoryPlan(
        tokens=min(TOKENS_MAX, _round_down(pass_bytes // (_FLOAT * shape.wide))),
        elements=min(elements_max, _round_down(logit_bytes // _FLOAT)),
    )


def _round_down(count: int) -> int:
    """The largest power of two up to it, at least 1."""
    return 1 << max(0, count.bit_length() - 1)


class MemoryBudget:
    """A plan that all passes of a model keep to. Safe to use from several threads.

    Args:
        vocabulary: number of the model's ids: a row of logits has as many elements.
        model: its name, for people.

    Attributes:
        plan: the given plan, or what is left of it after memory ran out.
    """

    def __init__(
        self, plan: MemoryPlan, device: str, vocabulary: int, model: str = "the model"
    ) -> None:
        self.plan = plan
        self._device = device
        self._vocabulary = vocabulary
        self._model = model

    def run(self, compute: Callable[[MemoryPlan], _T], what: str, longest: int = 1) -> _T:
        """The result of `compute` with the plan, which is halved as long as memory runs out.

        Args:
            what: the thing that is computed, for people.
            longest: tokens that go through the model together in any case: a plan with fewer would
                not take less memory.

        Raises:
            MemoryLackError: memory does not suffice for one row.
            DeviceError: the device has failed.
        """
        plan: MemoryPlan | None = self.plan
        least, message = MemoryPlan(longest, self._vocabulary), ""
        while plan is not None:
            try:
                result = compute(plan)
            except (RuntimeError, MemoryError) as error:
                message = require_lack(error, self._device)
            else:
                if message:
                    self._note(plan, what, message)
                return result
            free_memory(self._device)
            plan = plan.halve(least)
        what = f"{what}, by {self._model}, one row at a time"
        raise MemoryLackError(explain_lack(what, self._device, message))

    def build(self, make: Callable[[], _T], what: str) -> _T:
        """The result of `make`, which no plan makes smaller. If memory runs out, it is called once
        more after the allocator's cache was freed.

        Raises:
            DeviceError: see `run`.
        """
        message = ""
        for _ in range(2):
            try:
                return make()
            except (RuntimeError, MemoryError) as error:
                message = require_lack(error, self._device)
            free_memory(self._device)
        raise MemoryLackError(explain_lack(f"{what} of {self._model}", self._device, message))

    def _note(self, plan: MemoryPlan, what: str, message: str) -> None:
        self.plan = plan
        logger.warning(
            "%s ran out of memory for %s: %s; from now on %s tokens are computed at a time",
            self._device,
            what,
            message,
            f"{plan.tokens:,}",
            extra={"event": "memory_lacked"},
        )
