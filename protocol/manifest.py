"""A checkpoint's manifest: the content that a model folder needs to match the digest on chain.

Specification, section 7. Pure: file contents come in as bytes.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from assay.protocol.encoding import (
    U16,
    U32,
    U64,
    Digest,
    EncodingError,
    Integer,
    Json,
    Many,
    Prefixed,
    Record,
    encode,
    read_json,
)
from assay.protocol.gate import (
    NO_COURSE,
    Course,
    Outcome,
    continue_course,
    find_course_fault,
    find_line_fault,
)
from assay.protocol.hashing import ZERO_DIGEST, Domain, compute_root, hash_fields
from assay.protocol.parameters import EXPERT_BITS, FRACTION_BITS, PROTOCOL_VERSION, Gate, Tests

#: Denominator of a rate: κ is in units of 1e-18.
RATE_UNIT = 10**18
_HIDDEN_MAX = 1 << 16
#: A larger safetensors header is refused (the library's own limit is 100 MB).
_HEADER_BYTES_MAX = 1 << 24
#: Most further files of a checkpoint, and most bytes of all of them.
FILES_MAX, FILES_BYTES_MAX = 16, 1 << 26
#: The further file that holds the pool of problems that the network wrote itself.
POOL_FILE = "pool.jsonl"
#: Most levels in force. The levels next to each are tried as well.
LEVELS_MAX = 32
#: The weight of a level that no success has changed yet.
WEIGHT_START = 1_000
#: A further file's name, which is one on any file system.
_FILE_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Honest rates of the sampling test, measured between two implementations of the reference."""

    #: κ_k for each margin level of the parameters (section 5), 1e-18
    rates: Annotated[tuple[int, ...], Many(Integer(8), 16)]
    tokens: U64  # positions measured

    @property
    def digest(self) -> bytes:
        """hash(calibration, canonical bytes), 32 bytes."""
        return hash_fields(Domain.CALIBRATION, encode(self))


@dataclass(frozen=True, slots=True)
class FurtherFile:
    """A file that is served with a checkpoint beside those that make the model."""

    name: Annotated[str, Prefixed(64, text=True)]
    sha256: Digest
    size: U64  # bytes


@dataclass(frozen=True, slots=True)
class LevelWeight:
    """A level in force, and how often its problems are asked."""

    level: U32
    weight: U32  # thousandths of the share that the environment's settings give it


@dataclass(frozen=True, slots=True)
class LevelSuccess:
    """Held-out problems of one level on which a model was tried, twice each."""

    level: U32
    solved: U32  # at the first try
    asked: U32
    mixed: U32  # solved at one try and not at the other


#: Levels in force, ascending, each with its weight.
LevelWeights = tuple[LevelWeight, ...]
#: Held-out success by ascending level.
HeldOutCounts = tuple[LevelSuccess, ...]


def start_levels(levels: Iterable[int]) -> LevelWeights:
    """Levels as a network begins with them."""
    return tuple(LevelWeight(level, WEIGHT_START) for level in levels)


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that two copies of a checkpoint must have in common to be the same checkpoint."""

    version: U16  # 4
    structure: Digest  # digest of config.json's bytes
    tokenizer: Digest  # digest of the tokenizer files' bytes
    chat_template: Digest  # digest of the template's bytes; of no bytes where there is no template
    tensors: Digest  # root over (name, dtype, shape, SHA-256) of all tensors
    end_tokens: Annotated[tuple[int, ...], Many(Integer(4), 16)]  # ids that end a completion
    max_tokens: U32  # a completion that has not ended is exactly this long
    #: difficulty of the problems, and how often each is asked
    levels: Annotated[LevelWeights, Many(Record(LevelWeight), LEVELS_MAX)]
    #: the parent's levels; empty if step is zeros
    levels_before: Annotated[LevelWeights, Many(Record(LevelWeight), LEVELS_MAX)]
    #: the parent's success, with the levels next to its own: levels follow from it. Empty if the
    #: parent was not tried
    held_out: Annotated[HeldOutCounts, Many(Record(LevelSuccess), 3 * LEVELS_MAX)]
    #: μ, mean last hidden state over the calibration set, 2^-16
    centre: Annotated[tuple[int, ...], Many(Integer(8, signed=True), _HIDDEN_MAX)]
    scale: U64  # root mean squared distance from μ, 2^-16
    router_ramp: U32  # the parameters': under another one the tensors make another model
    experts: U32  # that a token of the calibration set needs on average, 2^-10; 0: no mixture
    calibration: Digest  # digest of the rates
    calibration_set: Digest  # digest of the token sequences behind μ, scale and rates
    #: files served with the checkpoint, by ascending name
    files: Annotated[tuple[FurtherFile, ...], Many(Record(FurtherFile), FILES_MAX)]
    parent: Digest  # checkpoint digest it was trained from, zeros for a genesis
    step: Digest  # digest of the step, return or merge record, zeros for a genesis
    number: U64  # steps from the genesis; of a merged checkpoint the round's end
    #: what was measured since the milestone; nothing if step is zeros or there is no gate
    course: Course = NO_COURSE

    @property
    def digest(self) -> bytes:
        """The checkpoint digest, 32 bytes. It is part of every seed of the windows where it is in
        force."""
        return hash_fields(Domain.CHECKPOINT, encode(self))

    @property
    def level_numbers(self) -> tuple[int, ...]:
        """The levels in force, without their weights."""
        return tuple(pair.level for pair in self.levels)

    @property
    def is_return(self) -> bool:
        """Whether it is its milestone again, whose course was given up (section 7.1)."""
        return self.course.outcome is Outcome.RETURN


@dataclass(frozen=True, slots=True)
class TensorDigest:
    """One tensor as a manifest binds it. `dtype` is in safetensors' spelling."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: bytes


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """The place of one tensor in a safetensors file: bytes [start, end) of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def digest_safetensors(data: bytes | memoryview) -> list[TensorDigest]:
    """Name, dtype, shape and SHA-256 of the tensors of a safetensors file. `data` may be a memory
    map. Raises an EncodingError where the file is not safetensors."""
    view = memoryview(data)
    return [
        TensorDigest(
            place.name, place.dtype, place.shape, sha256(view[place.start : place.end]).digest()
        )
        for place in locate_tensors(data)
    ]


def locate_tensors(data: bytes | memoryview) -> list[TensorPlace]:
    """The places of the tensors in a safetensors file. Does not read their bytes.

    Source: the safetensors format (u64 little-endian header length, JSON header, data).

    Raises:
        EncodingError: the file is not safetensors.
    """
    view = memoryview(data)
    size = int.from_bytes(view[:8], "little")
    if len(view) < 8 + size or size > _HEADER_BYTES_MAX:
        raise EncodingError("is not a safetensors file: its header is cut off or too long")
    room = len(view) - 8 - size
    try:
        header = read_json(bytes(view[8 : 8 + size]))
        header.pop("__metadata__", None)
        _require_full_cover([tuple(entry["data_offsets"]) for entry in header.values()], room)
        return [_locate(name, entry, 8 + size, room) for name, entry in header.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncodingError(f"is not a safetensors file: {error}") from None


def _require_full_cover(ranges: list[tuple[Json, ...]], size: int) -> None:
    """Require that every byte belongs to exactly one tensor, as the format demands. Otherwise some
    bytes would not be under the root."""
    reached = 0
    for start, end in sorted(ranges):
        if start != reached:
            raise EncodingError("tensors overlap or leave a gap")
        reached = end
    if not ranges or reached != size:
        raise EncodingError("holds no tensor, or bytes that belong to none")


def _locate(name: str, entry: dict[str, Json], first: int, room: int) -> TensorPlace:
    (start, end), shape, dtype = entry["data_offsets"], entry["shape"], entry["dtype"]
    if not isinstance(dtype, str) or not isinstance(shape, list):
        raise EncodingError(f"tensor {name!r} has no dtype or no shape")
    if any(type(number) is not int or not 0 <= number < 2**63 for number in (start, end, *shape)):
        raise EncodingError(f"tensor {name!r} has a side or an offset that is not a size")
    if not start <= end <= room:
        raise EncodingError(f"tensor {name!r} lies outside the file")
    name.encode(), dtype.encode()  # raises here for a lone surrogate, which would raise later
    return TensorPlace(name, dtype, tuple(shape), first + start, first + end)


def find_twice(tensors: Iterable[TensorDigest]) -> str | None:
    """A name that two tensors have, or None."""
    counted = Counter(tensor.name for tensor in tensors)
    return next((name for name, times in counted.items() if times > 1), None)


def compute_tensor_root(tensors: Iterable[TensorDigest]) -> bytes:
    """Root over all tensors in order of name, 32 bytes. Of those with one name, which no checkpoint
    may have, in the given order. Raises a ValueError where there are no tensors."""
    ordered = sorted(tensors, key=lambda tensor: tensor.name)
    return compute_root(
        [
            hash_fields(
                Domain.TENSOR_LEAF,
                tensor.name.encode(),
                tensor.dtype.encode(),
                b"".join(side.to_bytes(8, "big") for side in tensor.shape),
                tensor.sha256,
            )
            for tensor in ordered
        ]
    )


def compute_files_digest(domain: Domain, files: Mapping[str, bytes]) -> bytes:
    """Digest of named files, in order of name, 32 bytes."""
    pairs = (part for name in sorted(files) for part in (name.encode(), files[name]))
    return hash_fields(domain, *pairs)


def find_fault(
    manifest: Manifest, calibration: Calibration, tests: Tests, gate: Gate, max_tokens: int
) -> str | None:
    """The reason why a published checkpoint is unusable for everybody, or None.

    Without this check, a trainer could switch the tests off through μ, scale or rates, or make
    everybody compute all experts of a mixture. The parameters bound these values, and a checkpoint
    beyond the bounds voids its window for all (section 2).
    """
    if manifest.version != PROTOCOL_VERSION:
        return f"the manifest's version is {manifest.version}, not {PROTOCOL_VERSION}"
    if calibration.digest != manifest.calibration:
        return "the calibration is not the one its manifest names"
    if len(calibration.rates) != len(tests.margin_levels):
        return f"the calibration has {len(calibration.rates)} rates, not {len(tests.margin_levels)}"
    for rate, limit, level in zip(
        calibration.rates, tests.rate_limits, tests.margin_levels, strict=True
    ):
        if rate > limit:
            return (
                f"a calibrated rate exceeds the parameters' limit: {rate / 10**18:.2g} at a margin "
                f"of {level / (1 << FRACTION_BITS):.2g} logits, and {limit / 10**18:.2g} may be: "
                "margin_cap and margin_levels may be too small for this model"
            )
    if not tests.scale_min <= manifest.scale <= tests.scale_max:
        return f"scale {manifest.scale} is outside [{tests.scale_min}, {tests.scale_max}]"
    if sum(m * m for m in manifest.centre) * 10**6 > (tests.centre_ratio_max * manifest.scale) ** 2:
        return f"the centre lies farther out than {tests.centre_ratio_max} thousandths of the scale"
    if manifest.router_ramp != tests.router_ramp:
        return f"router_ramp {manifest.router_ramp} is not the parameters' {tests.router_ramp}"
    if manifest.experts > tests.experts_max:
        needed, most = (n / (1 << EXPERT_BITS) for n in (manifest.experts, tests.experts_max))
        return f"a token needs {needed:.2f} experts on average, and the parameters allow {most:.2f}"
    if not 1 <= manifest.max_tokens <= max_tokens:
        return f"max_tokens {manifest.max_tokens} is outside [1, {max_tokens}]"
    if not manifest.end_tokens or not manifest.levels:
        return "the manifest names no end token or no level"
    if manifest.step == ZERO_DIGEST:
        fault = None if manifest.course == NO_COURSE else "it carries a course, and has no step"
    else:
        fault = find_course_fault(manifest.course, gate)
    return fault or find_files_fault(manifest)


def continue_line(parent: Manifest, gate: Gate) -> Course:
    """The course that a checkpoint's child belongs to, see `continue_course`."""
    return continue_course(parent.digest, parent.course, parent.step == ZERO_DIGEST, gate)


def find_line_lie(manifest: Manifest, parent: Manifest, gate: Gate) -> str | None:
    """What a checkpoint's course wrongly says of its parent's, or None. It makes no checkpoint
    unusable: whoever has no parent at hand could not follow."""
    if manifest.step == ZERO_DIGEST or manifest.course == NO_COURSE:
        return None
    is_first = parent.step == ZERO_DIGEST
    return find_line_fault(parent.digest, parent.course, is_first, manifest.course, gate)


def find_files_fault(manifest: Manifest) -> str | None:
    """The fault of a manifest's further files, or None. Before it is None, their names are a
    stranger's text."""
    names = [file.name for file in manifest.files]
    for name in names:
        if not _FILE_NAME.fullmatch(name):
            return f"{name!r} is no name of a further file"
    if names != sorted(set(names)):
        return "the further files are not in ascending order of their names"
    if sum(file.size for file in manifest.files) > FILES_BYTES_MAX:
        return f"the further files have more than {FILES_BYTES_MAX:,} bytes"
    return None
