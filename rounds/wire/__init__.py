"""The wire format of an outer step: a child's masters as their difference from the parent's.

Start with `encode_difference` and `decode_difference`: tensors in, blobs out, and back.
`sparse_chunks` is the form that keeps the largest values of each chunk; whole forms are
`tensor_delta`'s. Nothing here reads a file or a store, knows who made a child, or says whether its
numbers are any good: it decodes what is well formed, and refuses the rest with one error.
"""

from assay.rounds.wire.difference import (
    PIECE_BYTES,
    DifferenceForm,
    compute_size_limit,
    decode_difference,
    encode_difference,
    find_form_fault,
)

__all__ = [
    "PIECE_BYTES",
    "DifferenceForm",
    "compute_size_limit",
    "decode_difference",
    "encode_difference",
    "find_form_fault",
]
