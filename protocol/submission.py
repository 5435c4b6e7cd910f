"""A submission: the one file of a miner and window, from its rows to the bytes under the root.

    header ‖ index ‖ group 0 ‖ group 1 ‖ …
    group  = path ‖ head ‖ ids 0 ‖ … ‖ ids G−1 ‖ proof 0 ‖ … ‖ proof G−1

The index gives the size of every part of every group. A group's head gives the size and the digest
of every record in it. A reader can therefore locate each record by arithmetic, fetch it alone and
check it against the root. An encoder can only choose the rows and the code of the
log-probabilities' classes. Decoding raises `EncodingError` on anything that is not canonical.
Specification, section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from assay.protocol.bit_fields import BitReader, BitWriter, Integers
from assay.protocol.encoding import U8, U16, U32, U64, Digest, EncodingError, decode, encode
from assay.protocol.hashing import (
    DIGEST_BYTES,
    Domain,
    compute_path_top,
    compute_tree,
    count_path,
    get_path,
    hash_fields,
)
from assay.protocol.parameters import PROTOCOL_VERSION
from assay.protocol.prefix_code import HEAD_BITS, PrefixCode, make_prefix_code, read_prefix_code

#: Largest value of a log-probability, 2^-16 nats: three bytes of information.
LOGPROB_MAX = 2**24 - 1
#: Fraction bits of a log-probability.
LOGPROB_BITS = 16
#: Signed bytes of sketch a token.
SKETCH_COLUMNS = 2

#: A log-probability's class is its number of bits: 0 to 24, symbols of 5 bits.
_CLASS_BITS = 5
_CLASS_MAX = LOGPROB_MAX.bit_length()
#: Remainder bits of a byte of sketch. The bytes have a spread of 32: see section 6.
_SKETCH_RICE = 5
_SKETCH_MAX = 254  # −127 … 127, folded
#: Most bits of an id.
ID_BITS_MAX = 32
#: Most bits of a token's proof: code and lower bits of its class, two bytes of sketch.
PROOF_BITS_MAX = _CLASS_MAX + (_CLASS_MAX - 1) + SKETCH_COLUMNS * 13


@dataclass(frozen=True, slots=True)
class Header:
    """A file's own description. The judge knows all of its fields but the last two beforehand."""

    version: U16  # 4
    parameters: Digest
    window: U64
    hotkey: Digest
    checkpoint: Digest
    groups: U32  # n
    group_size: U16  # G
    id_bits: U8  # bits of the largest id of the checkpoint's vocabulary
    index: Digest  # hash of the index's bytes
    tree: Digest  # top of the tree over the groups' leaves


#: Bytes of an encoded header.
HEADER_BYTES = 2 + 3 * DIGEST_BYTES + 8 + 4 + 2 + 1 + 2 * DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class GroupSizes:
    """Bytes of a group's parts, as the index holds them."""

    head: U32  # of the group's head
    ids: U32  # of the ids of all its rollouts
    proofs: U32  # of the proofs of all its rollouts


_SIZES_BYTES = 12


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """The results of a miner's own forward pass for one completion of T tokens."""

    logprobs: NDArray[np.uint32]  # uint32 [T], −ln p in 2^-16 nats, at most `LOGPROB_MAX`
    sketch: NDArray[np.int8]  # int8 [T, 2], −127 to 127


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """One completion and its proof."""

    tokens: NDArray[np.uint32]  # uint32 [T], the completion with its end token; T ≥ 1
    logprobs: NDArray[np.uint32]  # as `Proof`
    sketch: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Range:
    """A range of a file: its first byte, and the number of bytes."""

    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class Opening:
    """Header and index: the beginning of a file, and the places of everything else."""

    header: Header
    sizes: tuple[GroupSizes, ...]

    @cached_property
    def _starts(self) -> list[int]:
        path = [DIGEST_BYTES * count_path(len(self.sizes), g) for g in range(len(self.sizes))]
        groups = [p + s.head + s.ids + s.proofs for p, s in zip(path, self.sizes, strict=True)]
        return list(accumulate(groups, initial=get_opening_bytes(len(self.sizes))))

    @property
    def file_bytes(self) -> int:
        """The size of the whole file, bytes. Bytes after it are not part of it."""
        return self._starts[-1]

    def find_head(self, group: int) -> Range:
        """The range of a group's path and head."""
        path = DIGEST_BYTES * count_path(len(self.sizes), group)
        return Range(self._starts[group], path + self.sizes[group].head)

    def find_group(self, group: int) -> Range:
        """The range of a whole group."""
        return Range(self._starts[group], self._starts[group + 1] - self._starts[group])

    def find_ids(self, group: int) -> Range:
        """The range of the ids of all its rollouts."""
        return Range(self.find_head(group).end, self.sizes[group].ids)

    def find_proofs(self, group: int) -> Range:
        """The range of the proofs of all its rollouts."""
        return Range(self.find_ids(group).end, self.sizes[group].proofs)


@dataclass(frozen=True)
class GroupHead:
    """A group's head, with one entry for each rollout."""

    lengths: tuple[int, ...]  # tokens
    ids_bytes: tuple[int, ...]
    proof_bytes: tuple[int, ...]
    ids_digests: tuple[bytes, ...]
    proof_digests: tuple[bytes, ...]
    ids_code: PrefixCode
    class_code: PrefixCode

    def find_ids(self, rollout: int) -> Range:
        """The range of a rollout's ids, within `Opening.find_ids`."""
        return Range(sum(self.ids_bytes[:rollout]), self.ids_bytes[rollout])

    def find_proof(self, rollout: int) -> Range:
        """The range of a rollout's proof, within `Opening.find_proofs`."""
        return Range(sum(self.proof_bytes[:rollout]), self.proof_bytes[rollout])


def get_opening_bytes(groups: int) -> int:
    """The bytes of header and index of a file with this many groups."""
    return HEADER_BYTES + _SIZES_BYTES * groups


# --- writing


def encode_submission(
    groups: Sequence[Sequence[Rollout]],
    *,
    parameters: bytes,
    window: int,
    hotkey: bytes,
    checkpoint: bytes,
    id_bits: int,
) -> tuple[bytes, bytes]:
    """A whole file, and its root.

    Args:
        groups: at least one, all of one size.
        parameters, checkpoint: digests.
        id_bits: bits of the checkpoint's largest id, see `get_id_bits`.

    Raises:
        ValueError: there is no group, groups differ in size, a rollout is empty, or its columns
            differ in length.
    """
    if not groups or not groups[0] or len({len(group) for group in groups}) != 1:
        raise ValueError("a submission has at least one group, all of one size")
    header = Header(
        version=PROTOCOL_VERSION,
        parameters=parameters,
        window=window,
        hotkey=hotkey,
        checkpoint=checkpoint,
        groups=len(groups),
        group_size=len(groups[0]),
        id_bits=id_bits,
        index=bytes(DIGEST_BYTES),
        tree=bytes(DIGEST_BYTES),
    )
    return assemble_submission(header, [encode_group(group, id_bits) for group in groups])


def assemble_submission(
    header: Header, parts: Sequence[tuple[bytes, bytes, bytes]]
) -> tuple[bytes, bytes]:
    """A whole file, and its root.

    Args:
        header: this function fills in `index` and `tree`.
        parts: head, ids and proofs of each group, see `encode_group`.
    """
    tree = compute_tree([compute_group_leaf(g, head) for g, (head, _, _) in enumerate(parts)])
    index = b"".join(encode(GroupSizes(*map(len, part))) for part in parts)
    header = replace(header, index=hash_fields(Domain.INDEX, index), tree=tree[-1][0])
    data = [encode(header), index]
    for g, part in enumerate(parts):
        data += [*get_path(tree, g), *part]
    return b"".join(data), compute_submission_root(header)


def get_id_bits(vocabulary: int) -> int:
    """The bits of the largest id of a vocabulary with this many ids."""
    return (vocabulary - 1).bit_length()


def encode_group(group: Sequence[Rollout], id_bits: int) -> tuple[bytes, bytes, bytes]:
    """Head, ids and proofs of a group."""
    if not all(len(rollout.tokens) for rollout in group):
        raise ValueError("a rollout has at least one token")
    tokens = [rollout.tokens.astype(np.int64) for rollout in group]
    if max(int(row.max()) for row in tokens) >> id_bits:
        raise ValueError(f"an id has more than {id_bits} bits")
    classes = [_compute_classes(rollout.logprobs) for rollout in group]
    ids_code = make_prefix_code(np.concatenate(tokens), id_bits)
    class_code = make_prefix_code(np.concatenate(classes), _CLASS_BITS)
    ids = [encode_ids(row, ids_code) for row in tokens]
    proofs = [
        _encode_proof(rollout, row, class_code) for rollout, row in zip(group, classes, strict=True)
    ]
    fields = BitWriter()
    for column in (tokens, ids, proofs):
        fields.write_narrow(list(map(len, column)))
    ids_code.write(fields)
    class_code.write(fields)
    head = [
        *(hash_fields(Domain.IDS, record) for record in ids),
        *(hash_fields(Domain.PROOF, record) for record in proofs),
        fields.finish(),
    ]
    return b"".join(head), b"".join(ids), b"".join(proofs)


def encode_ids(tokens: Integers, code: PrefixCode) -> bytes:
    """A completion's ids: their codes, padded to a whole byte."""
    writer = BitWriter()
    code.encode(writer, tokens)
    return writer.finish()


def _encode_proof(rollout: Rollout, classes: Integers, code: PrefixCode) -> bytes:
    """The classes, the sketch, then for each log-probability the bits below its highest."""
    count = len(rollout.tokens)
    if rollout.logprobs.shape != (count,) or rollout.sketch.shape != (count, SKETCH_COLUMNS):
        raise ValueError("a rollout's columns differ in length")
    sketch = rollout.sketch.astype(np.int64).ravel()
    writer = BitWriter()
    code.encode(writer, classes)
    writer.write_rice(np.where(sketch < 0, -2 * sketch - 1, 2 * sketch), _SKETCH_RICE)
    below = np.maximum(classes - 1, 0)
    writer.write(rollout.logprobs.astype(np.int64) & ((1 << below) - 1), below)
    return writer.finish()


def _compute_classes(logprobs: NDArray[np.uint32]) -> Integers:
    """The number of bits of each."""
    # exact: frexp's exponent of an integer below 2^53 is its number of bits
    return np.frexp(logprobs.astype(np.float64))[1].astype(np.int64)


# --- reading


def decode_opening(data: bytes, groups: int) -> Opening:
    """The header and index of a file with this many groups.

    Raises:
        EncodingError: the header gives another number, groups without a rollout or ids too wide, or
            there are not `get_opening_bytes` bytes.
    """
    header = decode(Header, data[:HEADER_BYTES])
    if len(data) != get_opening_bytes(groups) or header.groups != groups:
        raise EncodingError("has an index that is not of the header's number of groups")
    if not header.group_size:
        raise EncodingError("has groups of no rollout")
    if header.id_bits > ID_BITS_MAX:
        raise EncodingError(f"has ids of {header.id_bits} bits, more than {ID_BITS_MAX}")
    numbers = np.frombuffer(data[HEADER_BYTES:], ">u4").reshape(-1, 3).tolist()
    return Opening(header, tuple(GroupSizes(*row) for row in numbers))


def decode_group_head(head: bytes, opening: Opening, group: int) -> GroupHead:
    """A group's head. `head` leaves the path before it out.

    Raises:
        EncodingError: says what is wrong. Also raised where its sizes differ from those in the
            index, its ids take more bits than in a fixed width, or a record has more bytes than its
            tokens fill.
    """
    size, id_bits = opening.header.group_size, opening.header.id_bits
    digests_end = 2 * DIGEST_BYTES * size
    digests = [head[at : at + DIGEST_BYTES] for at in range(0, digests_end, DIGEST_BYTES)]
    reader = BitReader(head[digests_end:])
    lengths, ids_bytes, proof_bytes = (reader.read_narrow(size).tolist() for _ in range(3))
    if min(lengths) == 0:
        raise EncodingError("has a rollout without a token")
    sizes = opening.sizes[group]
    if (sum(ids_bytes), sum(proof_bytes)) != (sizes.ids, sizes.proofs):
        raise EncodingError("has records of other sizes than the index says")
    before = reader.position
    ids_code = read_prefix_code(reader, id_bits, sum(lengths))
    code_bits = reader.position - before
    class_code = read_prefix_code(reader, _CLASS_BITS, _CLASS_MAX + 1)
    reader.require_finished()
    bits = code_bits + 8 * (sizes.ids - size)  # at least: a record ends within its last byte
    if len(ids_code.symbols) and bits >= HEAD_BITS + sum(lengths) * id_bits:
        raise EncodingError("has ids that take fewer bits in a fixed width")
    # bytes that no record fills would be read in vain
    id_most = int(ids_code.lengths[-1]) if len(ids_code.symbols) else id_bits
    for count, ids, proof in zip(lengths, ids_bytes, proof_bytes, strict=True):
        if ids > (count * id_most + 7) // 8 or proof > (count * PROOF_BITS_MAX + 7) // 8:
            raise EncodingError("has a record of more bytes than its tokens fill")
    return GroupHead(
        tuple(lengths),
        tuple(ids_bytes),
        tuple(proof_bytes),
        tuple(digests[:size]),
        tuple(digests[size:]),
        ids_code,
        class_code,
    )


def decode_ids(data: bytes, head: GroupHead, rollout: int) -> NDArray[np.uint32]:
    """One completion's ids, uint32 [T]. Raises an EncodingError where the record is not
    canonical."""
    reader = BitReader(data)
    tokens = head.ids_code.decode(reader, head.lengths[rollout])
    reader.require_finished()
    return tokens.astype(np.uint32)


def decode_proof(data: bytes, head: GroupHead, rollout: int) -> Proof:
    """One rollout's proof. Raises an EncodingError where the record is not canonical."""
    count = head.lengths[rollout]
    reader = BitReader(data)
    classes = head.class_code.decode(reader, count)
    if classes.max() > _CLASS_MAX:
        raise EncodingError(f"has a log-probability above {LOGPROB_MAX}")
    folded = reader.read_rice(SKETCH_COLUMNS * count, _SKETCH_RICE)
    if folded.max() > _SKETCH_MAX:
        raise EncodingError("has a sketch beyond ±127")
    below = np.maximum(classes - 1, 0)
    logprobs = (classes > 0) * (1 << below) | reader.read(count, below)
    reader.require_finished()
    sketch = np.where(folded & 1, -(folded + 1 >> 1), folded >> 1)
    return Proof(logprobs.astype(np.uint32), sketch.astype(np.int8).reshape(count, SKETCH_COLUMNS))


def are_ids_canonical(tokens: Sequence[NDArray[np.uint32]], head: GroupHead, id_bits: int) -> bool:
    """Return whether a group's ids are coded as `encode_group` codes them."""
    code = make_prefix_code(np.concatenate(tokens).astype(np.int64), id_bits)
    return np.array_equal(code.symbols, head.ids_code.symbols) and np.array_equal(
        code.lengths, head.ids_code.lengths
    )


# --- bindings


def compute_group_leaf(index: int, head: bytes) -> bytes:
    """hash(group-leaf, u32 index, head), 32 bytes."""
    return hash_fields(Domain.GROUP_LEAF, index.to_bytes(4, "big"), head)


def compute_submission_root(header: Header) -> bytes:
    """The root that a miner commits to, 32 bytes. The header names the digest of everything
    else."""
    return hash_fields(Domain.SUBMISSION, encode(header))


def is_opening_committed(data: bytes, root: bytes) -> bool:
    """Return whether a root on chain binds this header and index."""
    try:
        header = decode(Header, data[:HEADER_BYTES])
    except EncodingError:
        return False
    index = hash_fields(Domain.INDEX, data[HEADER_BYTES:])
    return compute_submission_root(header) == root and header.index == index


def is_head_committed(data: bytes, opening: Opening, group: int) -> bool:
    """Return whether the header binds a group's path and head."""
    groups = len(opening.sizes)
    at = DIGEST_BYTES * count_path(groups, group)
    path = [data[i : i + DIGEST_BYTES] for i in range(0, at, DIGEST_BYTES)]
    leaf = compute_group_leaf(group, data[at:])
    return compute_path_top(leaf, groups, group, path) == opening.header.tree


def is_record_committed(domain: Domain, data: bytes, digest: bytes) -> bool:
    """Return whether its group's head binds a record of ids or a proof."""
    return hash_fields(domain, data) == digest
