"""One learner over several processes: weights, gradients and moments sharded (FSDP2).

Under `torchrun` with an initialised process group each process holds a part of every weight and
computes a part of every forward pass. Without one, all of this does nothing. It is torch's own
`fully_shard`: there is nothing here that accelerate would add.

What it does not know: that all processes make the same calls in the same order. They must.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def get_team() -> tuple[int, int]:
    """This process's rank, and how many there are; (0, 1) for one that is alone."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def shard(model: nn.Module) -> None:
    """Spreads a model's weights over the team: each layer is gathered when it is its turn."""
    _, size = get_team()
    if size == 1:
        return
    mesh = init_device_mesh(next(model.parameters()).device.type, (size,))
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for layer in module:
                fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def gather(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be spread, on every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def spread(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, spread as `like` is."""
    if isinstance(like, DTensor) and tensor.shape == like.shape:
        return distribute_tensor(tensor, like.device_mesh, like.placements)
    return tensor


def add_up(values: list[float]) -> list[float]:
    """Each value, summed over the team."""
    if get_team()[1] == 1:
        return values
    total: Any = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(total)
    return [float(value) for value in total]
