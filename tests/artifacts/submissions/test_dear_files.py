"""Files that are costly to read: nothing that a miner may choose doubles a reader's work.

Work is counted in numbers that are looked up in a file's bits, and in bytes that are fetched.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from assay.artifacts.submissions.file import SubmissionFile
from assay.protocol import submission
from assay.protocol.bit_fields import BitReader, BitWriter, Integers
from assay.protocol.encoding import EncodingError
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import MAIN_WORK
from assay.protocol.prefix_code import PrefixCode, compute_code_lengths, make_prefix_code
from assay.protocol.reason import Reason, Refusal
from assay.protocol.selection import select_committed
from assay.protocol.submission import (
    LOGPROB_MAX,
    GroupSizes,
    Rollout,
    decode_group_head,
    encode_group,
    get_opening_bytes,
)
from assay.verification import get_part_limits
from tests.artifacts.conftest import HOTKEY, Group, MemorySource, Parts, Shown, expect, show

#: The main network's settings, with shorter completions.
GROUPS, SIZE, TOKENS, ID_BITS = 20, MAIN_WORK.group_size, 64, 18
CLASS_BITS, CLASSES = 5, 25
AUDIT = ("audited_rollouts", "valued_groups", "sampled_rollouts")

Code = Callable[[Integers], PrefixCode]


@cache
def make_groups(spread: float | None) -> list[Group]:
    """Rows as a language model's: half of all tokens are sure, few ids frequent, as Zipf's law has
    it with this exponent; None: rows that nobody could guess."""
    random = np.random.default_rng(0)
    return [[make_rollout(random, spread) for _ in range(SIZE)] for _ in range(GROUPS)]


def make_rollout(random: np.random.Generator, spread: float | None) -> Rollout:
    ids = random.integers(0, 2**ID_BITS, TOKENS)
    logprobs = random.integers(0, LOGPROB_MAX + 1, TOKENS)
    sketch = np.rint(random.normal(0, 32, (TOKENS, 2))).clip(-127, 127).astype(np.int8)
    if spread is not None:
        ids = random.zipf(spread, TOKENS) % 2**ID_BITS
        logprobs = (random.exponential(60_000, TOKENS) * (random.random(TOKENS) < 0.5)).astype(int)
    return Rollout(ids.astype(np.uint32), logprobs.astype(np.uint32), sketch)


def show_main(groups: list[Group]) -> Shown:
    return show(groups, ID_BITS, **{name: getattr(MAIN_WORK, name) for name in AUDIT})


def measure(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Numbers of read and of memory for audit and samples of an honest file."""
    numbers = 0
    look, scan = BitReader.look, np.flatnonzero

    def count_looks(reader: BitReader, positions: Integers, widths: Any) -> Integers:
        nonlocal numbers
        numbers += len(positions)
        return look(reader, positions, widths)

    def count_scanned(bits: Any) -> Integers:
        nonlocal numbers
        numbers += len(bits)
        return scan(bits)

    source = MemorySource(shown.data)
    with monkeypatch.context() as patch:
        patch.setattr(BitReader, "look", count_looks)
        patch.setattr(np, "flatnonzero", count_scanned)
        found = shown.read(SubmissionFile(source))
        reader = SubmissionFile(source)
        assert shown.find_sample_fault(reader) is None
    assert not isinstance(found, Refusal), found
    return numbers, sum(end - start for start, end in source.reads)


# --- codes that nobody's numbers ask for


def make_honest_code(numbers: Integers) -> PrefixCode:
    return make_prefix_code(numbers, ID_BITS)


def make_longest_code(numbers: Integers) -> PrefixCode:
    """A code of all classes, each one bit longer than the one before, the most frequent last."""
    order = np.argsort(np.bincount(numbers, minlength=CLASSES), kind="stable")
    order[-2:] = np.sort(order[-2:])
    return PrefixCode(CLASS_BITS, order, np.array([*range(1, CLASSES), CLASSES - 1]))


def make_widest_code(numbers: Integers, symbols: int) -> PrefixCode:
    """A code with that many ids, most of which nobody has drawn, all of about one length."""
    used = np.unique(numbers)
    others = np.setdiff1d(np.arange(0, 2**ID_BITS, 97), used)
    ids = np.sort(np.concatenate([used, others])[:symbols])
    lengths = np.array(compute_code_lengths([1] * symbols))
    order = np.lexsort((ids, lengths))
    return PrefixCode(ID_BITS, ids[order], lengths[order])


def encode_by(group: Group, ids: Code, classes: Code) -> Parts:
    with pytest.MonkeyPatch.context() as patch:
        codes = {ID_BITS: ids, CLASS_BITS: classes}
        patch.setattr(submission, "make_prefix_code", lambda numbers, bits: codes[bits](numbers))
        return encode_group(group, ID_BITS)


def encode_dearest(group: Group, shown: Shown) -> Parts:
    """By the longest codes and the most symbols that a reader takes in a group without value."""
    for symbols in range(SIZE * TOKENS, 0, -16):
        parts = encode_by(group, lambda ids, n=symbols: make_widest_code(ids, n), make_longest_code)
        opening = replace(shown.opening, sizes=(GroupSizes(*map(len, parts)),))
        try:
            decode_group_head(parts[0], opening, 0)
        except EncodingError:
            continue
        return parts
    raise AssertionError("no code is taken")


def make_dearest(groups: list[Group], honest: Shown) -> Shown:
    """A file with the most costly codes that a miner may choose: of classes everywhere, of ids if a
    group is not valued."""
    chosen = select_committed(honest.context, HOTKEY, GROUPS)
    valued = {group.index for group in chosen if group.valued}
    return honest.change(
        {
            index: encode_by(group, make_honest_code, make_longest_code)
            if index in valued
            else encode_dearest(group, honest)
            for index, group in enumerate(groups)
        }
    )


def test_no_file_that_passes_is_twice_as_dear_as_an_honest_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups = make_groups(1.3)
    honest = show_main(groups)
    numbers, fetched = measure(honest, monkeypatch)
    dear_numbers, dear_fetched = measure(make_dearest(groups, honest), monkeypatch)
    assert numbers < dear_numbers <= 2 * numbers
    assert fetched < dear_fetched <= 2 * fetched


def test_however_little_its_rows_say_it_takes_no_more_bytes_than_rows_that_say_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups = make_groups(6.0)
    dear = make_dearest(groups, show_main(groups))
    assert measure(dear, monkeypatch)[1] <= measure(show_main(make_groups(None)), monkeypatch)[1]


# --- parts as large as there may be


def test_the_largest_honest_group_has_room_and_nothing_has_twice_as_much() -> None:
    """On the main network: every id as rare as the next, all else at its end."""
    random, tokens = np.random.default_rng(0), MAIN_WORK.max_tokens
    rows = [
        Rollout(
            random.integers(0, 2**ID_BITS, tokens, dtype=np.uint32),
            random.integers(2**23, LOGPROB_MAX + 1, tokens, dtype=np.uint32)
            >> random.integers(0, CLASSES, tokens, dtype=np.uint32),
            random.choice(np.array([-127, 127], np.int8), (tokens, 2)),
        )
        for _ in range(SIZE)
    ]
    head, ids, proofs = map(len, encode_group(rows, ID_BITS))
    limits = get_part_limits(MAIN_WORK, ID_BITS)
    assert ids <= limits.ids <= 2 * ids
    assert proofs <= limits.proofs <= 2 * proofs
    # the code of an honest group takes less than it saves
    assert head <= limits.head <= head + 2 * ids


@pytest.mark.parametrize("part", ["head", "ids", "proofs"])
def test_a_larger_part_is_refused_before_any_group_is_read(part: str) -> None:
    groups = make_groups(1.3)
    honest = show_main(groups)
    place = ("head", "ids", "proofs").index(part)
    parts = list(honest.parts[3])
    limit = getattr(get_part_limits(honest.context.parameters.work, ID_BITS), part)
    parts[place] = bytes(limit + 1)
    dear = honest.change({3: (parts[0], parts[1], parts[2])})
    source = MemorySource(dear.data)
    expect(dear.read(SubmissionFile(source)), Reason.TOO_LARGE, "group 3")
    assert source.reads == [(0, get_opening_bytes(GROUPS))]


def test_more_symbols_than_tokens_are_no_code() -> None:
    groups = make_groups(1.3)
    honest = show_main(groups)
    many = encode_by(
        groups[0], lambda ids: make_widest_code(ids, SIZE * TOKENS + 1), make_longest_code
    )
    found = honest.change({0: many}).read(groups=[0])
    expect(found, Reason.MALFORMED, "symbols")


def test_a_code_that_saves_nothing_is_refused() -> None:
    """With as many symbols as tokens, ids and code take more bits than a fixed width."""
    groups = make_groups(1.3)
    short = [
        Rollout(r.tokens[: TOKENS // 2], r.logprobs[: TOKENS // 2], r.sketch[: TOKENS // 2])
        for r in groups[0]
    ]
    parts = encode_by(
        short, lambda ids: make_widest_code(ids, SIZE * TOKENS // 2), make_longest_code
    )
    found = show_main(groups).change({0: parts}).read(groups=[0])
    expect(found, Reason.MALFORMED, "fewer bits in a fixed width")


def test_a_record_that_no_tokens_fill_is_refused_unread() -> None:
    """All bytes that proofs may have, in one: to decode it would take a hundred times the memory
    of an honest one."""
    short = [Rollout(r.tokens[:1], r.logprobs[:1], r.sketch[:1]) for r in make_groups(1.3)[0]]
    old, ids, proofs = encode_group(short, ID_BITS)
    honest = show_main(make_groups(1.3))
    opening = replace(honest.opening, sizes=(GroupSizes(len(old), len(ids), len(proofs)),))
    head = decode_group_head(old, opening, 0)
    most = get_part_limits(honest.context.parameters.work, ID_BITS).proofs
    first = head.proof_bytes[0]
    record = proofs[:first] + bytes(most - len(proofs))
    fields = BitWriter()
    for column in (head.lengths, head.ids_bytes, (len(record), *head.proof_bytes[1:])):
        fields.write_narrow(column)
    head.ids_code.write(fields)
    head.class_code.write(fields)
    named = hash_fields(Domain.PROOF, record)
    digests = (*head.ids_digests, named, *head.proof_digests[1:])
    parts = b"".join(digests) + fields.finish(), ids, record + proofs[first:]
    found = honest.change({0: parts}).read(groups=[0])
    expect(found, Reason.MALFORMED, "more bytes than its tokens fill")
