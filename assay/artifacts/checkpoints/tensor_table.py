"""A checkpoint's tensors one by one: the list that a manifest binds, and the file that they make.

Specification, section 7. Published checkpoints have the list as a separate file. With it and the
manifest, every tensor's size and SHA-256 are known before the download of its first byte.
"""

import json
from collections.abc import Sequence
from math import prod

from assay.inference.folder import UnusableCheckpointError
from assay.protocol.encoding import EncodingError, Json, read_hex, read_json
from assay.protocol.manifest import Manifest, TensorDigest, compute_tensor_root, find_twice

TABLE_FILE = "tensors.json"
#: The only type that a manifest may bind and that programs can use (section 7); its bytes a value.
_DTYPE, _BYTES = "BF16", 2


def encode_table(tensors: Sequence[TensorDigest]) -> bytes:
    """The list: [name, dtype, shape, SHA-256] in order of name, JSON."""
    rows = [
        [tensor.name, tensor.dtype, list(tensor.shape), tensor.sha256.hex()]
        for tensor in sorted(tensors, key=lambda tensor: tensor.name)
    ]
    return (json.dumps(rows, indent=0) + "\n").encode()


def decode_table(data: bytes, manifest: Manifest) -> list[TensorDigest]:
    """The tensors of a checkpoint, in order of name, from its list, if the manifest binds the list.

    Raises:
        EncodingError: it is not such a list, or is another checkpoint's.
        UnusableCheckpointError: it is this one's, but nobody can use it.
    """
    rows = read_json(data)
    if not isinstance(rows, list):
        raise EncodingError("is not a list")
    tensors = [_read_row(row) for row in rows]
    if not tensors or compute_tensor_root(tensors) != manifest.tensors:
        raise EncodingError("does not list the tensors that the manifest binds")
    twice = find_twice(tensors)
    if twice is not None:
        raise UnusableCheckpointError(f"tensor {twice[:100]} occurs twice")
    for tensor in tensors:
        if tensor.dtype != _DTYPE:
            raise UnusableCheckpointError(f"tensor {tensor.name} is {tensor.dtype}, not bf16")
    return sorted(tensors, key=lambda tensor: tensor.name)


def _read_row(row: Json) -> TensorDigest:
    if not isinstance(row, list) or len(row) != 4:
        raise EncodingError("has a row that is not name, dtype, shape and SHA-256")
    name, dtype, shape, digest = row
    if not isinstance(name, str) or not isinstance(dtype, str) or not isinstance(shape, list):
        raise EncodingError("has a row without a name, a dtype or a shape")
    if any(type(side) is not int or not 0 <= side < 1 << 64 for side in shape):
        raise EncodingError(f"tensor {name!r} has no possible shape")
    try:
        name.encode(), dtype.encode()
    except UnicodeEncodeError:
        raise EncodingError("has a name that is not text") from None
    return TensorDigest(name, dtype, tuple(shape), read_hex(digest))


def compute_size(tensor: TensorDigest) -> int:
    """Bytes of a tensor's data."""
    return _BYTES * prod(tensor.shape)


def plan_file(tensors: Sequence[TensorDigest]) -> tuple[bytes, dict[str, int]]:
    """One safetensors file for all tensors: its first bytes, and where each tensor begins.

    It equals the library's own files: in order of name, with the header padded to eight bytes.
    """
    header: dict[str, Json] = {"__metadata__": {"format": "pt"}}
    at, starts = 0, {}
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        end = at + compute_size(tensor)
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [at, end],
        }
        starts[tensor.name] = at
        at = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    first = len(text).to_bytes(8, "little") + text
    return first, {name: len(first) + start for name, start in starts.items()}
