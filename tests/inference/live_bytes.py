"""Counts the bytes of all tensors that exist at once: a law of memory, whatever an allocator and
the machine do with it. Memory that a kernel takes for itself is not seen."""

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Attributes:
    peak: the most bytes at one time, of tensors that operations made within this context.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = {id(x.untyped_storage()) for x in tree_leaves((args, kwargs)) if _is_tensor(x)}
        made = function(*args, **(kwargs or {}))
        for tensor in filter(_is_tensor, tree_leaves(made)):
            storage = tensor.untyped_storage()
            if id(storage) not in given and storage not in self._seen:
                self._seen.add(storage)
                self._live += storage.nbytes()
                weakref.finalize(storage, self._free, storage.nbytes())
        self.peak = max(self.peak, self._live)
        return made

    def _free(self, size: int) -> None:
        self._live -= size


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def count_live_bytes(run: Callable[[], object]) -> int:
    """The most bytes of tensors that exist at once while it runs, beside those that it was
    given."""
    with LiveBytes() as counted:
        run()
    return counted.peak
