"""The wire format of an outer step: a child's masters as their difference from the parent's.

Start with `encode_difference` and `decode_difference`: from tensors to blobs, and back.
`sparse_chunks` is the form that keeps the largest values of each chunk; the forms that keep all
values use `tensor_delta`. Nothing here reads a file or a store, knows who made a child, or judges
its numbers: it decodes well-formed blobs, and refuses the rest with one error.
"""

from assay.rounds.wire.difference import (
    PIECE_BYTES,
    DifferenceForm,
    compute_size_limit,
    decode_difference,
    decode_tensors,
    encode_difference,
    find_form_fault,
    require_pieces,
)

__all__ = [
    "PIECE_BYTES",
    "DifferenceForm",
    "compute_size_limit",
    "decode_difference",
    "decode_tensors",
    "encode_difference",
    "find_form_fault",
    "require_pieces",
]
