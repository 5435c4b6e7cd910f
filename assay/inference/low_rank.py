"""Low-rank changes of a model's matrices: the file that holds them, and the one way to add them.

Specification, section 7 ("Adapter"). Factors are bf16. The change is W' = bf16(fp32(W) + Σ_k
L[:, k] · R[k, :]), with k ascending and each sum rounded to fp32. Factors' bounds keep every
product exact, and every sum but W's own free of overflow and of subnormal numbers. So whether a
processor fuses multiplication and addition, how many threads it has, and in which blocks it works
changes no bit. This module does not know which checkpoint the file belongs to.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import torch
from safetensors.torch import save
from torch import Tensor

from assay.protocol.encoding import EncodingError, Json, read_hex, read_json
from assay.protocol.manifest import TensorPlace, locate_tensors

#: The name of an adapter among a checkpoint's further files.
ADAPTER_FILE = "adapter.safetensors"
#: Largest rank of an adapter. A higher one makes readers compute longer.
RANK_MAX = 8
#: Bounds of a factor's values other than 0: at least the first, below the second. A product of two
#: is a multiple of 2^-94.
_LEAST, _BOUND = 2.0**-40, 2.0**40
#: Suffixes of the names of left and right factors, which follow a tensor's name.
_LEFT, _RIGHT = ".lora_B", ".lora_A"
#: Fields of the file's metadata, in hex: the base, and the root over the tensors that are made. Of
#: a checkpoint's adapter, its manifest has the latter.
_BASE, _MADE = "base", "tensors"
#: Elements that are computed together: they fit a core's cache.
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """The change of one matrix, or of each matrix of a stack: left times right, bf16."""

    left: Tensor  # [*stack, rows, rank]
    right: Tensor  # [*stack, rank, columns]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor that is changed."""
        return (*self.left.shape[:-1], self.right.shape[-1])


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """A checkpoint as the change of another one."""

    #: digest of the checkpoint that is changed; of a model without a manifest, the root over its
    #: tensors
    base: bytes
    factors: Mapping[str, Factors]  # by the tensors' names


def round_factors(left: Tensor, right: Tensor) -> Factors:
    """Factors in fp32, as they are published: rounded to bf16, to nearest even, and to 0 below the
    least magnitude. Raises a ValueError where a value is none that an adapter may have."""
    rounded = [part.bfloat16().contiguous() for part in (left, right)]
    for part in rounded:
        part[part.abs() < _LEAST] = 0
        if not _are_bounded(part):
            raise ValueError("a factor is not a number, or far too large")
    return Factors(*rounded)


def merge(weight: Tensor, factors: Factors, block: int = _BLOCK) -> Tensor:
    """A changed tensor, contiguous.

    Args:
        weight: bf16, of the factors' shape.
        block: elements that are computed together; changes no bit.
    """
    parts = list(merge_in_blocks(weight, factors, block))
    return torch.cat(parts).view(weight.shape)


def merge_in_blocks(weight: Tensor, factors: Factors, block: int = _BLOCK) -> Iterator[Tensor]:
    """The same as `merge`, some rows at a time: bf16 [rows, columns]."""
    parts = (weight, factors.left, factors.right)
    stacks = [part.reshape(-1, *part.shape[-2:]) for part in parts]
    for matrix, left, narrow in zip(*stacks, strict=True):
        right = narrow.float()
        rows = max(1, block // right.shape[1])
        for start in range(0, len(matrix), rows):
            wide = left[start : start + rows].float()
            change = wide[:, :1] * right[:1]
            for k in range(1, len(right)):
                change.addcmul_(wide[:, k : k + 1], right[k : k + 1])
            yield (matrix[start : start + rows].float() + change).bfloat16()


def encode_adapter(adapter: Adapter, made: bytes | None = None) -> bytes:
    """The file: safetensors, with the base in its metadata.

    Args:
        made: root over the tensors that it makes, for a model without a manifest.
    """
    named: dict[str, Tensor] = {}
    for name, factors in adapter.factors.items():
        named |= {name + _LEFT: factors.left, name + _RIGHT: factors.right}
    metadata = {_BASE: adapter.base.hex()} | ({} if made is None else {_MADE: made.hex()})
    data: bytes = save(named, metadata=metadata)
    return data


def compute_adapter_size(factors: Mapping[str, Factors]) -> int:
    """Bytes of the factors in a file, without its header."""
    return 2 * sum(one.left.numel() + one.right.numel() for one in factors.values())


def decode_adapter(data: bytes) -> Adapter:
    """An adapter from its file.

    Raises:
        EncodingError: it is none: another file, a factor alone, a shape or a rank that cannot be,
            or a value that is not finite or out of bounds.
    """
    view = memoryview(data)
    places = {place.name: place for place in locate_tensors(data)}
    sides: dict[str, dict[str, Tensor]] = {_LEFT: {}, _RIGHT: {}}
    for name, place in places.items():
        stem, suffix = name[: -len(_LEFT)], name[-len(_LEFT) :]
        if suffix not in sides:
            raise EncodingError(f"has a tensor {name!r}, which is no factor")
        sides[suffix][stem] = _read_factor(view, place)
    lefts, rights = sides[_LEFT], sides[_RIGHT]
    if alone := lefts.keys() ^ rights.keys():
        raise EncodingError(f"has one factor of {min(alone)!r} without the other")
    factors = {name: Factors(left, rights[name]) for name, left in lefts.items()}
    for name, pair in factors.items():
        left, right = pair.left.shape, pair.right.shape
        if left[:-2] != right[:-2] or left[-1] != right[-2]:
            raise EncodingError(f"has factors of {name!r} that do not fit together")
        if left[-1] > RANK_MAX:
            raise EncodingError(f"has factors of rank {left[-1]}; at most {RANK_MAX} may be")
    return Adapter(_read_base(view), factors)


def decode_made(data: bytes) -> bytes | None:
    """The root over the tensors that an adapter makes, or None where its file does not name one.
    Raises an EncodingError as `decode_adapter`, which is called first."""
    return _read_digest(memoryview(data), _MADE)


def _read_base(view: memoryview) -> bytes:
    digest = _read_digest(view, _BASE)
    if digest is None:
        raise EncodingError("does not name its base")
    return digest


def _read_digest(view: memoryview, field: str) -> bytes | None:
    size = int.from_bytes(view[:8], "little")
    header: dict[str, Json] = read_json(bytes(view[8 : 8 + size]))
    metadata = header.get("__metadata__")
    text = metadata.get(field) if isinstance(metadata, dict) else None
    digest = read_hex(text) if isinstance(text, str) else b""
    return digest if len(digest) == 32 else None


def _read_factor(view: memoryview, place: TensorPlace) -> Tensor:
    name, shape = place.name, place.shape
    if place.dtype != "BF16" or len(shape) not in (2, 3) or not all(shape):
        raise EncodingError(f"has a factor {name!r} that is no matrix or stack of bf16")
    if 2 * prod(shape) != place.end - place.start:
        raise EncodingError(f"has a factor {name!r} of another size than its shape")
    values = torch.frombuffer(bytearray(view[place.start : place.end]), dtype=torch.bfloat16)
    if not _are_bounded(values):
        raise EncodingError(f"has a value in {name!r} that is not finite, or out of bounds")
    return values.view(shape)


def _are_bounded(values: Tensor) -> bool:
    size = values.abs()
    return bool(((size == 0) | ((size >= _LEAST) & (size < _BOUND))).all())
