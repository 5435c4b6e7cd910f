"""The vectors, derived a second time by other means: hashlib, struct and arithmetic by hand.

Nothing here calls the code that wrote them, except where a test says what it compares.
"""

import json
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256, shake_256
from heapq import heapify, heappop, heappush
from itertools import accumulate, chain, pairwise
from math import floor
from pathlib import Path
from typing import Any

import pytest

from tests.absent import has_sandbox
from tests.commands import run_code

VECTORS = Path(__file__).parents[1] / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_bytes())


def naive_hash(name: str, *fields: bytes) -> bytes:
    label = f"assay/v4/{name}".encode()
    framed = b"".join(struct.pack(">I", len(field)) + field for field in fields)
    return sha256(bytes([len(label)]) + label + framed).digest()


def naive_tree(leaves: list[bytes]) -> bytes:
    """Recursion from the top, where the code works upwards from the leaves."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return naive_hash("node", naive_tree(leaves[:half]), naive_tree(leaves[half:]))


def naive_path(leaves: list[bytes], index: int) -> list[bytes]:
    """The tops of the subtrees beside the path, from above; then reversed."""
    beside, low, high = [], 0, len(leaves)
    while high - low > 1:
        half = 1
        while half * 2 < high - low:
            half *= 2
        if index < low + half:
            beside.append(naive_tree(leaves[low + half : high]))
            high = low + half
        else:
            beside.append(naive_tree(leaves[low : low + half]))
            low += half
    return beside[::-1]


def naive_root(leaves: list[bytes], *context: bytes) -> bytes:
    return naive_hash("root", struct.pack(">I", len(leaves)), *context, naive_tree(leaves))


def test_the_generator_writes_these_bytes() -> None:
    code = (
        f"import runpy, sys; sys.argv.append('--check'); sys.path.insert(0, {str(VECTORS)!r})\n"
        f"runpy.run_path({str(VECTORS / 'generate.py')!r}, run_name='__main__')"
    )
    assert run_code(code) == "differ: none\n"


@pytest.mark.skipif(not has_sandbox(), reason="no sandbox: assay sandbox prepare")
def test_programs_run_as_their_vectors_say() -> None:
    code = (
        f"import runpy, sys; sys.argv.append('--check'); sys.path.insert(0, {str(VECTORS)!r})\n"
        f"runpy.run_path({str(VECTORS / 'code_runs.py')!r}, run_name='__main__')"
    )
    assert run_code(code) == "code.json\npieces.json\n"


def test_stream_is_shake_256_read_as_big_endian_words() -> None:
    vector = load("stream")
    seed = bytes.fromhex(vector["seed"])
    words = [w for (w,) in struct.iter_unpack(">Q", shake_256(seed).digest(8 * 1_024))]
    assert vector["u64"] == words[:70]
    for entry in vector["below"]:
        bound = entry["bound"]
        fair = [w % bound for w in words if w < 2**64 - 2**64 % bound]
        assert entry["drawn"] == fair[:6], bound


def test_sample_is_fisher_yates_over_a_real_list() -> None:
    vector = load("stream")
    words = struct.iter_unpack(">Q", shake_256(bytes.fromhex(vector["seed"])).digest(800))
    draws = [w for (w,) in words]
    for entry in vector["sample"]:
        deck = list(range(entry["population"]))
        for i in range(entry["count"]):
            j = i + draws[i] % (len(deck) - i)  # no draw of this seed is rejected: 2^-54 each
            deck[i], deck[j] = deck[j], deck[i]
        assert entry["drawn"] == deck[: entry["count"]]


def test_hashes_are_length_prefixed_sha_256() -> None:
    for entry in load("hashing")["fields"]:
        name = entry["domain"].removeprefix("assay/v4/")
        fields = [bytes.fromhex(field) for field in entry["fields"]]
        assert entry["digest"] == naive_hash(name, *fields).hex()


def test_merkle_roots_promote_the_odd_node() -> None:
    vector = load("hashing")
    leaves = [bytes.fromhex(leaf) for leaf in vector["leaves"]]
    context = bytes.fromhex(vector["context"])
    for entry in vector["roots"]:
        some = leaves[: entry["count"]]
        assert entry["tree_root"] == naive_tree(some).hex()
        assert entry["root"] == naive_root(some).hex()
        assert entry["root_with_context"] == naive_root(some, context).hex()
        paths = [[node.hex() for node in naive_path(some, i)] for i in range(len(some))]
        assert entry["paths"] == paths


def test_seeds_are_the_hashes_of_section_2_3_6_and_8() -> None:
    vector = load("seeds")
    given, made = vector["given"], {k: bytes.fromhex(v) for k, v in vector["seeds"].items()}
    part = {k: bytes.fromhex(v) for k, v in given.items() if isinstance(v, str)}
    index, rollout = (struct.pack(">I", given[name]) for name in ("index", "rollout"))
    hotkey = part["hotkey"]
    challenge = naive_hash(
        "challenge",
        part["parameters"],
        part["environment"],
        struct.pack(">Q", given["window"]),
        part["checkpoint"],
        part["block_hash"],
        part["randomness"],
    )
    audit = naive_hash("audit", challenge, part["audit_randomness"])
    sample = naive_hash("sample", challenge, part["sample_randomness"])
    assert made == {
        "challenge": challenge,
        "audit": audit,
        "sample": sample,
        "problem": naive_hash("problem", challenge, hotkey, index),
        "block": naive_hash("block", challenge, hotkey, index),
        "rollout": naive_hash("rollout", challenge, hotkey, index, rollout),
        "projection": naive_hash("projection", challenge),
        "positions": naive_hash("positions", audit, hotkey, index, rollout),
        "groups": naive_hash("audit-groups", audit, hotkey),
        "rollouts": naive_hash("audit-rollouts", audit, hotkey, index),
        "samples": naive_hash("sampled-rollouts", sample, hotkey),
        "witness": naive_hash("validator-projection", audit, part["validator"]),
    }


# Every parameter in order, and how it is written: bytes of an integer, h digest, b bytes, t text,
# s settings, p prompts, e list of environments, l<n> list of integers of n bytes, r<n> record of
# such integers, m<n> list of such records.
PARAMETERS = {
    "identity": "version:2 genesis_hash:h netuid:2 owner_uid:2 burn_share:4 trainer:h "
    "genesis_checkpoint:h amender:h",
    "beacon": "chain_hash:h scheme:t public_key:b genesis_ms:8 period_ms:4",
    "environment": "name:t settings:s digest:h prompts:p",
    "rewards": "correctness_weight:4 quality_weight:4 satisfaction_weight:4 format_weight:4 "
    "satisfaction_floor:4 length_penalty:4 overlong_tokens:4 overlong_penalty:4",
    "steering": "success_low:4 success_high:4 weight_min:4 weight_max:4 weight_step:4",
    "timing": "window_blocks:4 commit_offset:4 audit_offset:4 sample_offset:4 fetch_end:4 "
    "mirror_end:4 verdict_end:4 checkpoint_lead:4 slot_ms:4 tempo:4 beacon_delay_ms:4 "
    "notice_windows:4",
    "work": "group_size:2 audited_rollouts:2 valued_groups:2 sampled_rollouts:2 group_cap:4 "
    "max_tokens:4 temperature:4 prompt_share:4 position_share:8 "
    "value_base:8 value_mean:8 value_teach:8 turns:2 context:4 reply_bytes:4 paid_reply:4 "
    "idle_settlements:4",
    "tests": "margin_cap:8 margin_levels:l8 alpha_inverse:4 mean_stakes:l4 level_stakes:l4 "
    "rate_inflation:1 rate_floor:8 rate_limits:l8 sketch_block_bound:4 sketch_rollout_bound:4 "
    "scale_min:8 scale_max:8 centre_ratio_max:4 logprob_rms_bound:4 logprob_max_bound:4 "
    "router_ramp:4 experts_max:4",
    "gate": "rule:t problems:4 error_worse:4 error_better:4 checkpoints:4 environment:e",
    "start": "predecessor:h window:8 checkpoint:h number:8",
}


def prefixed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def naive_write(kind: str, value: Any) -> bytes:
    if kind == "h":
        return bytes.fromhex(value)
    if kind == "b":
        return prefixed(bytes.fromhex(value))
    if kind == "t":
        return prefixed(value.encode())
    if kind == "s":
        settings = [prefixed(s["name"].encode()) + struct.pack(">q", s["value"]) for s in value]
        return struct.pack(">I", len(value)) + b"".join(settings)
    if kind == "p":
        return struct.pack(">I", len(value)) + b"".join(
            prefixed(one["part"].encode())
            + b"".join(
                struct.pack(">I", len(one[field]))
                + b"".join(prefixed(text.encode()) for pair in one[field] for text in pair.values())
                for field in ("texts", "shots")
            )
            for one in value
        )
    if kind == "e":
        kinds = dict(column.split(":") for column in PARAMETERS["environment"].split())
        return struct.pack(">I", len(value)) + b"".join(
            naive_write(kind, one[name]) for one in value for name, kind in kinds.items()
        )
    if kind[0] == "l":
        items = [item.to_bytes(int(kind[1:]), "big") for item in value]
        return struct.pack(">I", len(value)) + b"".join(items)
    if kind[0] == "r":
        return b"".join(item.to_bytes(int(kind[1:]), "big") for item in value.values())
    if kind[0] == "m":
        return struct.pack(">I", len(value)) + b"".join(
            naive_write(f"r{kind[1:]}", v) for v in value
        )
    return value.to_bytes(int(kind), "big")


def naive_parameters(parameters: Any) -> bytes:
    assert set(parameters) == set(PARAMETERS)
    written = b""
    for section, columns in PARAMETERS.items():
        kinds = dict(column.split(":") for column in columns.split())
        assert set(parameters[section]) == set(kinds)
        written += b"".join(naive_write(kind, parameters[section][n]) for n, kind in kinds.items())
    return written


def test_parameters_are_written_field_by_field() -> None:
    vector = load("parameters")
    written = naive_parameters(vector["parameters"])
    assert vector["encoding"] == written.hex()
    assert vector["digest"] == naive_hash("parameters", written).hex()


def test_no_parameter_can_change_without_another_digest() -> None:
    vector = load("parameters")
    digests = {vector["digest"]}
    for mutation in vector["mutations"]:
        section, name = mutation["field"].split(".")
        changed = vector["parameters"] | {
            section: vector["parameters"][section] | {name: mutation["value"]}
        }
        assert mutation["digest"] == naive_hash("parameters", naive_parameters(changed)).hex()
        digests.add(mutation["digest"])
    columns = " ".join(PARAMETERS.values()).split()
    assert len(digests) == 1 + len(vector["mutations"]) == 1 + len(columns)


# Bit fields as text: ones and zeros one after the other.


def pack(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def write_field(value: int, width: int) -> str:
    return f"{value:0{width}b}" if width else ""


def write_narrow(values: list[int]) -> str:
    width = max(values).bit_length()
    return write_field(width, 5) + "".join(write_field(value, width) for value in values)


def write_rice(values: list[int], width: int) -> str:
    quotients = "".join("0" * (value >> width) + "1" for value in values)
    return quotients + "".join(write_field(value % 2**width, width) for value in values)


def test_bit_fields_are_ones_and_zeros() -> None:
    vector = load("bit_fields")
    for entry in vector["fields"]:
        written = "".join(write_field(*field) for field in entry["fields"])
        assert entry["bytes"] == pack(written).hex()
    for entry in vector["narrow"]:
        assert entry["bytes"] == pack(write_narrow(entry["values"])).hex()
    for entry in vector["rice"]:
        assert entry["bytes"] == pack(write_rice(entry["values"], entry["remainder_bits"])).hex()


def find_lengths(counts: dict[int, int]) -> dict[int, int]:
    """Huffman over a heap, where the code walks two queues: symbols before pairs, each by age."""
    lengths = dict.fromkeys(counts, 0)
    heap = [(count, 0, symbol, (symbol,)) for symbol, count in counts.items()]
    if len(heap) == 1:
        return dict.fromkeys(counts, 1)
    heapify(heap)
    for age in range(len(heap) - 1):
        first, second = heappop(heap), heappop(heap)
        members = first[3] + second[3]
        for symbol in members:
            lengths[symbol] += 1
        heappush(heap, (first[0] + second[0], 1, age, members))
    return lengths


def find_code(numbers: list[int], width: int) -> tuple[list[tuple[int, str]], str]:
    """(symbol, its bits) by length and size, or none for a fixed width; the written code."""
    counts = Counter(numbers)
    lengths = find_lengths(counts)
    longest = max(lengths.values())
    ordered = sorted(lengths, key=lambda symbol: (lengths[symbol], symbol))
    codes, code, length = [], -1, 0
    for symbol in ordered:
        code = (code + 1) << (lengths[symbol] - length)
        length = lengths[symbol]
        codes.append((symbol, write_field(code, length)))
    bits = sum(lengths[number] for number in numbers)
    per_length = [list(lengths.values()).count(length) for length in range(1, longest + 1)]
    written = write_field(longest, 5) + write_narrow(per_length)
    for length, count in enumerate(per_length, 1):
        some = [symbol for symbol in ordered if lengths[symbol] == length]
        gaps = [b - a - 1 for a, b in pairwise([-1, *some])]
        written += write_rice(gaps, max(0, width - count.bit_length()))
    if len(written) + bits < 5 + len(numbers) * width:
        return codes, written
    return [], "00000"


def write_numbers(numbers: list[int], codes: list[tuple[int, str]], width: int) -> str:
    bits = dict(codes)
    return "".join(bits[n] if bits else write_field(n, width) for n in numbers)


def test_lengths_are_huffmans_with_a_rule_for_every_tie() -> None:
    for entry in load("prefix_code")["lengths"]:
        found = find_lengths(dict(enumerate(entry["counts"])))
        assert entry["lengths"] == list(found.values()), entry["about"]


def test_codes_are_canonical_and_shorter_than_a_fixed_width() -> None:
    for entry in load("prefix_code")["codes"]:
        numbers = [number for count, number in entry["runs"] for _ in range(count)]
        codes, written = find_code(numbers, entry["symbol_bits"])
        assert entry["code"] == [[s, len(bits), int(bits, 2)] for s, bits in codes]
        encoded = write_numbers(numbers, codes, entry["symbol_bits"])
        assert (entry["code_bits"], entry["number_bits"]) == (len(written), len(encoded))
        assert (entry["written"], entry["encoded"]) == (pack(written).hex(), pack(encoded).hex())


def write_group(group: Any, id_bits: int) -> tuple[bytes, bytes, bytes]:
    """Head, ids, proofs."""
    tokens = [rollout["tokens"] for rollout in group]
    classes = [[value.bit_length() for value in r["logprobs"]] for r in group]
    ids_code, ids_written = find_code([*chain(*tokens)], id_bits)
    class_code, class_written = find_code([*chain(*classes)], 5)
    ids = [pack(write_numbers(row, ids_code, id_bits)) for row in tokens]
    proofs = []
    for rollout, row in zip(group, classes, strict=True):
        folded = [-2 * q - 1 if q < 0 else 2 * q for pair in rollout["sketch"] for q in pair]
        below = [write_field(v, v.bit_length())[1:] for v in rollout["logprobs"]]
        bits = write_numbers(row, class_code, 5) + write_rice(folded, 5) + "".join(below)
        proofs.append(pack(bits))
    fields = "".join(write_narrow([len(item) for item in part]) for part in (tokens, ids, proofs))
    digests = [naive_hash("ids", r) for r in ids] + [naive_hash("proof", r) for r in proofs]
    head = b"".join(digests) + pack(fields + ids_written + class_written)
    return head, b"".join(ids), b"".join(proofs)


def test_groups_are_written_bit_by_bit() -> None:
    vector = load("submission")
    for entry in vector["groups"] + vector["other_groups"]:
        parts = write_group(entry["rollouts"], entry["id_bits"])
        assert [entry["head"], entry["ids"], entry["proofs"]] == [part.hex() for part in parts]
    for vocabulary, bits in vector["id_bits"]:
        assert 2**bits >= vocabulary > 2**bits / 2


def test_a_submission_is_written_and_bound_as_section_4_says() -> None:
    vector = load("submission")
    header = vector["header"]
    groups = [
        tuple(bytes.fromhex(entry[part]) for part in ("head", "ids", "proofs"))
        for entry in vector["groups"]
    ]
    leaves = [
        naive_hash("group-leaf", struct.pack(">I", g), head)
        for g, (head, _, _) in enumerate(groups)
    ]
    paths = [naive_path(leaves, g) for g in range(len(leaves))]
    index = b"".join(struct.pack(">III", *map(len, parts)) for parts in groups)
    written = struct.pack(
        ">H32sQ32s32sIHB32s32s",
        header["version"],
        bytes.fromhex(header["parameters"]),
        header["window"],
        bytes.fromhex(header["hotkey"]),
        bytes.fromhex(header["checkpoint"]),
        len(groups),
        len(vector["groups"][0]["rollouts"]),
        header["id_bits"],
        naive_hash("index", index),
        naive_tree(leaves),
    )
    assert vector["header_encoding"] == written.hex()
    assert vector["index"] == index.hex()
    assert vector["leaves"] == [leaf.hex() for leaf in leaves]
    assert vector["paths"] == [[node.hex() for node in path] for path in paths]
    assert vector["root"] == naive_hash("submission", written).hex()
    data = written + index
    for path, parts in zip(paths, groups, strict=True):
        data += b"".join([*path, *parts])
    assert vector["file"] == data.hex()


def test_commitments_are_a_struct() -> None:
    for entry in load("commitments")["valid"]:
        digest, locator = bytes.fromhex(entry["digest"]), entry["locator"].encode()
        fixed = entry["tag"].encode(), entry["number"], entry["groups"], digest
        assert entry["payload"] == (struct.pack(">4sQI32s", *fixed) + locator).hex()


def naive_course(course: Any) -> bytes:
    columns = "checkpoint:h answers:h asked:4 wins:4 losses:4 first_wins:4 first_losses:4"
    kinds = dict(column.split(":") for column in columns.split())
    assert list(course) == ["milestone", "attempt", "counts", "outcome"]
    written = naive_write("h", course["milestone"])
    written += struct.pack(">II", course["attempt"], len(course["counts"]))
    for one in course["counts"]:
        assert list(one) == list(kinds)
        written += b"".join(naive_write(kind, one[name]) for name, kind in kinds.items())
    return written + naive_write("t", course["outcome"])


def test_a_manifest_is_written_field_by_field() -> None:
    vector = load("manifest")
    kinds = (
        "version:2 structure:h tokenizer:h chat_template:h tensors:h end_tokens:l4 max_tokens:4 "
        "levels:m4 levels_before:m4 held_out:m4 centre:centre scale:8 router_ramp:4 experts:4 "
        "calibration:h calibration_set:h files:files parent:h step:h number:8 course:course"
    )
    manifest, written = vector["manifest"], b""
    assert list(manifest) == [column.split(":")[0] for column in kinds.split()]
    for name, kind in (column.split(":") for column in kinds.split()):
        if kind == "centre":
            centre = manifest[name]
            written += struct.pack(f">I{len(centre)}q", len(centre), *centre)
        elif kind == "files":
            written += struct.pack(">I", len(manifest[name]))
            for file in manifest[name]:
                written += struct.pack(">I", len(file["name"])) + file["name"].encode()
                written += bytes.fromhex(file["sha256"]) + struct.pack(">Q", file["size"])
        elif kind == "course":
            written += naive_course(manifest[name])
        else:
            written += naive_write(kind, manifest[name])
    assert vector["encoding"] == written.hex()
    assert vector["digest"] == naive_hash("checkpoint", written).hex()
    rates, tokens = vector["calibration"]["rates"], vector["calibration"]["tokens"]
    calibration = struct.pack(f">I{len(rates)}QQ", len(rates), *rates, tokens)
    assert vector["calibration_digest"] == naive_hash("calibration", calibration).hex()
    assert manifest["structure"] == naive_hash("structure", b"config.json", b"{}").hex()
    assert manifest["tokenizer"] == naive_hash("tokenizer", b"a", b"1", b"b", b"2").hex()
    assert manifest["chat_template"] == naive_hash("chat-template").hex()


def test_tensors_are_bound_by_name_dtype_shape_and_bytes() -> None:
    vector = load("manifest")["safetensors"]
    data = bytes.fromhex(vector["data"])
    leaves = [
        naive_hash("tensor-leaf", b"a", b"F32", b"", sha256(data[:4]).digest()),
        naive_hash(
            "tensor-leaf", b"b", b"BF16", struct.pack(">QQ", 2, 3), sha256(data[4:]).digest()
        ),
    ]
    assert vector["root"] == naive_root(leaves).hex()


@pytest.mark.parametrize("timing", ["main", "demo"])
def test_the_schedule_is_sums(timing: str) -> None:
    length, lead, *offsets = {
        "main": (30, 60, 33, 43, 60, 66, 73, 90),
        "demo": (12, 0, 13, 17, 19, 25, 29, 36),
    }[timing]
    names = "commit", "audit", "sample", "fetch_end", "mirror_end", "verdict_end"
    for entry in load("schedule")["blocks"]:
        if entry["timing"] == timing:
            start = entry["window"] * length
            assert entry["challenge"] == start
            assert entry["checkpoint"] == max(0, start - lead)
            assert [entry[name] for name in names] == [start + offset for offset in offsets]


def test_a_block_names_the_first_round_that_is_late_enough() -> None:
    slots = {"main": (12_000, 24_000), "demo": (1_000, 3_000)}
    genesis, period = 1_692_803_367_000, 3_000
    for entry in load("schedule")["rounds"]:
        slot, delay = slots[entry["timing"]]
        earliest = entry["timestamp_ms"] - entry["timestamp_ms"] % slot + slot + delay
        assert genesis + (entry["round"] - 1) * period >= earliest
        assert entry["round"] == 1 or genesis + (entry["round"] - 2) * period < earliest


def test_every_window_is_settled_once_where_its_verdicts_are_final() -> None:
    for entry in load("schedule")["settled"]:
        due = range(entry["previous_epoch"] + 1, entry["epoch"] + 1)
        assert entry["windows"] == [w for w in range(20) if 12 * w + 36 in due]


def shuffle(words: Iterator[int], population: int, count: int) -> list[int]:
    """The head of a shuffled list; no word of these streams is rejected."""
    deck = list(range(population))
    for i in range(count):
        j = i + next(words) % (population - i)
        deck[i], deck[j] = deck[j], deck[i]
    return deck[:count]


def open_stream(seed: bytes) -> Iterator[int]:
    return (word for (word,) in struct.iter_unpack(">Q", shake_256(seed).digest(8 * 256)))


def test_selections_are_heads_of_shuffles() -> None:
    vector = load("selection")
    audit, hotkey = bytes.fromhex(vector["audit_seed"]), bytes.fromhex(vector["hotkey"])
    for entry in vector["groups"]:
        n, size = entry["groups"], entry["group_size"]
        audited = min(entry["audited_rollouts"], n * size)
        stream = open_stream(naive_hash("audit-groups", audit, hotkey))
        drawn = shuffle(stream, n, min(n, audited))
        counts = Counter(drawn[i % len(drawn)] for i in range(audited))  # dealt out in turn
        valued = drawn[: entry["valued_groups"]]
        assert entry["audited"] == [[g, counts[g], g in valued] for g in sorted(drawn)]
    sample = bytes.fromhex(vector["sample_seed"])
    for entry in vector["samples"]:
        n, size = entry["groups"], entry["group_size"]
        stream = open_stream(naive_hash("sampled-rollouts", sample, hotkey))
        places = sorted(shuffle(stream, n * size, min(n * size, entry["sampled_rollouts"])))
        assert entry["sampled"] == [[place // size, place % size] for place in places]


def weigh(tokens: int, share: int) -> int:
    """A completion's work: token by token where they are few."""
    if tokens < 100:
        return sum(10**6 + share * place for place in range(tokens))
    return tokens * 10**6 + share * tokens * (tokens - 1) // 2


def test_the_rollout_of_a_valued_group_is_drawn_by_its_work() -> None:
    vector = load("selection")
    audit, hotkey = bytes.fromhex(vector["audit_seed"]), bytes.fromhex(vector["hotkey"])
    for entry in vector["rollouts"]:
        index = struct.pack(">I", entry["index"])
        stream = open_stream(naive_hash("audit-rollouts", audit, hotkey, index))
        rollouts, chosen = list(range(len(entry["lengths"]))), []
        if entry["valued"]:
            share = entry["position_share"]
            ends = list(accumulate(weigh(tokens, share) for tokens in entry["lengths"]))
            chosen.append(rollouts.pop(bisect_right(ends, next(stream) % ends[-1])))
        drawn = shuffle(stream, len(rollouts), entry["count"] - len(chosen))
        assert entry["rollouts"] == sorted(chosen + [rollouts[i] for i in drawn])


def test_positions_are_the_head_of_a_shuffle() -> None:
    vector = load("selection")
    audit, hotkey = bytes.fromhex(vector["audit_seed"]), bytes.fromhex(vector["hotkey"])
    for entry in vector["positions"]:
        place = (struct.pack(">I", entry[name]) for name in ("index", "rollout"))
        stream = open_stream(naive_hash("positions", audit, hotkey, *place))
        tokens = entry["tokens"]
        assert entry["positions"] == sorted(shuffle(stream, tokens, min(32, tokens)))


def test_values_are_fractions_rounded_down() -> None:
    vector = load("worth")
    work = vector["work"]
    share = Fraction(work["prompt_share"], 10**6)
    for entry in vector["values"]:
        m = entry["mean"]
        own = sum(weigh(tokens, work["position_share"]) for tokens in entry["lengths"])
        said = zip(entry["lengths"], entry["replies"], strict=bool(entry["replies"]))
        replies = sum(min(words, t * entry["paid_reply"] // 1_000) for t, words in said)
        paid = Fraction(own, 10**6) + share * (entry["prompt_tokens"] + replies)
        c = entry["mean_correctness"]
        teach = work["value_teach"] * c * (10**6 - c)
        factor = work["value_base"] + work["value_mean"] * m + teach
        assert entry["value"] == floor(paid * Fraction(factor, 10**18))
