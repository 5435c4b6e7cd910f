"""What a learner does on its device: it moves there for a turn, and leaves nothing behind."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from assay.inference.fixed_order import fix_order, lacks_order
from assay.inference.placing.devices import MemoryLackError, explain_lack, require_lack
from assay.training.optimizers import Optimizer
from assay.training.sharding import is_in_team

logger = logging.getLogger("assay")

_T = TypeVar("_T")


class DeviceTurns:
    """The turns of weights and an optimiser on a device.

    Args:
        models: what computes there, with all weights and constants.
        what: what a turn is, for an error about memory.

    Attributes:
        device: torch's. Between turns a single learner keeps nothing there: a judge may use the
            GPU meanwhile.
    """

    def __init__(
        self, device: torch.device, models: Sequence[nn.Module], optimizer: Optimizer, what: str
    ) -> None:
        self.device = device
        self._models = models
        self._optimizer = optimizer
        self._what = what
        self._is_strict, self._has_changed = True, False

    def take(self, act: Callable[[], _T]) -> _T:
        """Do something on the device, which is left empty.

        Raises:
            MemoryLackError: the device is full; nothing is left there.
            DeviceError: it has failed.
        """
        homes: list[tuple[Tensor, Tensor]] = []
        try:
            if not is_in_team() and self.device.type != "cpu":
                self._move_there(homes)
            done = self._act_in_order(act)
            for tensor, home in homes:
                home.copy_(tensor.data)
            return done
        except (RuntimeError, MemoryError) as error:
            device = str(self.device)
            lack = require_lack(error, device)
            raise MemoryLackError(explain_lack(self._what, device, lack)) from None
        finally:
            self._optimizer.zero_grad()
            if homes:
                self._move_back(homes)

    def note_change(self) -> None:
        """Say that weights change from here on: this turn can begin no second time."""
        self._has_changed = True

    def _act_in_order(self, act: Callable[[], _T]) -> _T:
        """Get the same bits each time, or say once that this model cannot."""
        self._has_changed = False
        try:
            with fix_order(self.device, self._is_strict):
                return act()
        except RuntimeError as error:
            # a first pass has all that a model computes, and changes nothing
            if self._has_changed or not self._is_strict or not lacks_order(error):
                raise
            logger.warning(
                "steps on %s will not repeat to the bit: %s",
                self.device,
                str(error).splitlines()[0],
                extra={"event": "order_lacked"},
            )
            self._is_strict = False
            self._optimizer.zero_grad()
        return self._act_in_order(act)

    def _move_there(self, homes: list[tuple[Tensor, Tensor]]) -> None:
        """Move weights and moments to the device. `homes` gets each with its memory on the CPU,
        which stays: to have the system give it anew takes several times as long as the way back."""
        for tensor in self._list_moving():
            homes.append((tensor, tensor.data))
            tensor.data = tensor.data.to(self.device)

    def _move_back(self, homes: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Leave nothing on the device, nor the moments that a first lesson made there."""
        for tensor, home in homes:
            tensor.data = home
        for tensor in self._list_moving():
            tensor.data = tensor.data.cpu()

    def _list_moving(self) -> Iterator[Tensor]:
        """Weights, constants and moments."""
        for model in self._models:
            yield from model.parameters()
            yield from model.buffers()
        yield from self._optimizer.list_tensors()
