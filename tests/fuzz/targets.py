"""What the fuzzers attack: a name → a decoder, what it may raise, and bytes to start from.

The contract of each: garbage gives a value or the one documented error, and what decodes encodes
back to the same bytes. A target raises whatever breaks that. `test_fuzz.py` runs them all under
hypothesis, `run.py` under atheris.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assay.artifacts.parquet import ParquetWorker
from assay.artifacts.parquet.parquet_pages import check_pages
from assay.artifacts.parquet.parquet_worker import FileFault
from assay.artifacts.submissions.submission_file import (
    SubmissionFile,
    unpack_footer,
    write_submission,
)
from assay.artifacts.submissions.submission_layout import SubmissionLimits
from assay.environments import gsm, make_environment
from assay.environments.problem_file import read_row
from assay.inference import UnusableCheckpointError
from assay.inference.architecture import compute_bytes_max, find_misfit
from assay.inference.checkpoint import load_tokenizer
from assay.inference.folder import PASSAGES_FILE, TOKENIZER_FILES
from assay.inference.passages import decode_passages, encode_passages
from assay.protocol import (
    QUICKNET,
    Beacon,
    BeaconChain,
    Calibration,
    EncodingError,
    Footer,
    Header,
    Manifest,
    Parameters,
    Reason,
    Refusal,
    Scheme,
    WindowRecord,
    context_from_json,
    context_to_json,
    decode_settlement_record,
    decode_ss58,
    decode_window_record,
    encode_commitment,
    encode_ss58,
    find_context_fault,
    is_valid_beacon,
    parse_commitment,
)
from assay.protocol.encoding import decode, encode, from_json, read_json, to_json
from assay.protocol.manifest import compute_tensor_root, digest_safetensors
from assay.protocol.parameters import MILLION, find_parameters_fault
from assay.protocol.record import make_record_context
from assay.protocol.submission import decode_rollout, encode_rollout, split_rows
from assay.training import GENESIS
from tests.artifacts.conftest import (
    MemorySource,
    join_file,
    list_fields,
    make_groups,
    make_header,
    set_field,
    split_file,
)

TESTS = Path(__file__).parents[1]
LIMITS = SubmissionLimits(group_size=4, group_cap=8, max_tokens=64)


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder under attack.

    Attributes:
        run: returns for every input, or raises what breaks the contract.
        seeds: good inputs, and bad ones that are known.
        examples: how many inputs the quick tests try.
    """

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    examples: int = 150


@cache
def read_vectors(name: str) -> Any:
    return json.loads((TESTS / "vectors" / f"{name}.json").read_bytes())


# Fixed binary encodings and their JSON forms

ENCODED: tuple[type[Any], ...] = (Header, Manifest, Calibration, Parameters, Beacon)


def attack_encoding(of: type[Any], data: bytes) -> None:
    try:
        value = decode(of, data)
    except EncodingError:
        return
    assert encode(value) == data
    assert from_json(of, to_json(value)) == value


def attack_record(decode_record: Callable[[bytes], Any], data: bytes) -> None:
    try:
        record = decode_record(data)
    except EncodingError:
        return
    assert encode(record) == data
    assert from_json(type(record), to_json(record)) == record
    if isinstance(record, WindowRecord):
        parameters = Parameters.from_json(read_vectors("parameters")["parameters"])
        context = make_record_context(record, parameters)
        if context is not None:
            find_context_fault(context)


def list_records(kind: str) -> list[bytes]:
    vector = read_vectors("record")
    good = vector["windows"] if kind == "windows" else [vector["settlement"]]
    return [
        *(bytes.fromhex(entry["encoding"]) for entry in good),
        *(bytes.fromhex(entry["bytes"]) for entry in vector[f"bad_{kind}"]),
    ]


def attack_json(of: type[Any], data: bytes) -> None:
    try:
        value = from_json(of, read_json(data))
    except EncodingError:
        return
    assert decode(of, encode(value)) == value
    assert to_json(value) == json.loads(data)


def list_encodings(of: type[Any]) -> list[bytes]:
    """Encodings of a class; of those without vectors, any one."""
    written = list_json(of)
    return [encode(from_json(of, read_json(data))) for data in written]


def list_json(of: type[Any]) -> list[bytes]:
    values: dict[type[Any], Any] = {
        Header: read_vectors("submission")["header"],
        Manifest: read_vectors("manifest")["manifest"],
        Calibration: read_vectors("manifest")["calibration"],
        Parameters: read_vectors("parameters")["parameters"],
        Beacon: {"round": 1, "signature": "00" * 48, "previous_signature": ""},
    }
    found = [json.dumps(values[of]).encode()]
    if of in (Manifest, Calibration):
        found.append((GENESIS / f"{of.__name__.lower()}.json").read_bytes())
    return found


def attack_parameters(data: bytes) -> None:
    attack_json(Parameters, data)
    try:
        parameters = Parameters.from_json(read_json(data))
    except EncodingError:
        return
    find_parameters_fault(parameters)


def attack_context(data: bytes) -> None:
    try:
        context = context_from_json(read_json(data))
    except EncodingError:
        return
    find_context_fault(context)
    written = json.dumps(context_to_json(context), sort_keys=True)
    assert written == json.dumps(json.loads(data), sort_keys=True)


def attack_rows(data: bytes) -> None:
    rows, group = data[:1], data[1:]
    try:
        found = [decode_rollout(row) for row in split_rows(group, rows[0] if rows else 1)]
    except EncodingError:
        return
    assert b"".join(map(encode_rollout, found)) == group


def list_rows() -> list[bytes]:
    vector = read_vectors("submission")
    rows = [bytes.fromhex(entry["encoding"]) for entry in vector["rollouts"]]
    bad = [bytes([e["rows"]]) + bytes.fromhex(e["bytes"]) for e in vector["bad_groups"]]
    return [b"\2" + b"".join(rows), *bad]


# What strangers write on chain, and what a beacon's server says


def attack_commitment(data: bytes) -> None:
    commitment = parse_commitment(data)
    assert commitment is None or encode_commitment(commitment) == data


def list_commitments() -> list[bytes]:
    vector = read_vectors("commitments")
    return [bytes.fromhex(entry["payload"]) for entry in vector["valid"] + vector["bad"]]


def attack_ss58(data: bytes) -> None:
    text = data.decode(errors="replace")
    try:
        key = decode_ss58(text)
    except ValueError:
        return
    assert encode_ss58(key) == text


def list_addresses() -> list[bytes]:
    vector = read_vectors("ss58")
    return [entry["address"].encode() for entry in vector["valid"] + vector["bad"]]


def attack_beacon(data: bytes) -> None:
    """A scheme, a round, a public key and a signature; the answer is a plain yes or no."""
    chained, number, rest = data[:1] > b"\x7f", data[1:9], data[9:]
    scheme = Scheme.CHAINED_G2 if chained else Scheme.UNCHAINED_G1
    key, signature = rest[: 144 - scheme.signature_bytes], rest[144 - scheme.signature_bytes :]
    chain = BeaconChain(QUICKNET.chain_hash, scheme, key, 0, 1)
    claimed = Beacon(int.from_bytes(number, "big"), signature)
    assert is_valid_beacon(chain, claimed) in (False, True)


def list_beacons() -> list[bytes]:
    drand = json.loads((TESTS / "data" / "drand-beacons.json").read_bytes())
    found = []
    for scheme, name in ((0, "quicknet"), (255, "default")):
        key = bytes.fromhex(drand[name]["info"]["public_key"])
        for entry in drand[name]["beacons"][:2]:
            head = bytes([scheme]) + entry["round"].to_bytes(8, "big")
            found.append(head + key + bytes.fromhex(entry["signature"]))
    return found


# A submission's file


@cache
def get_worker() -> ParquetWorker:
    return ParquetWorker()


def read_whole(data: bytes) -> list[bytes] | Refusal:
    """Every group of a file: canonical bytes of four rows each, or one of two refusals."""
    file = SubmissionFile(MemorySource(data), get_worker(), LIMITS)
    footer = file.read_footer()
    groups = []
    if isinstance(footer, Footer):
        for index in range(len(footer.leaves)):
            group = file.read_group(index)
            if isinstance(group, Refusal):
                footer = group
                break
            assert len(split_rows(group, LIMITS.group_size)) == LIMITS.group_size
            assert len(group) <= LIMITS.group_bytes
            groups.append(group)
    if isinstance(footer, Refusal):
        assert footer.reason in (Reason.TOO_LARGE, Reason.MALFORMED)
        assert footer.detail.isprintable()
        return footer
    return groups


@cache
def get_honest() -> bytes:
    return write_submission(make_header(3), make_groups(3))


def attack_footer(data: bytes) -> None:
    body, _ = split_file(get_honest())
    read_whole(join_file(body, data))


def attack_with_lies(data: bytes) -> None:
    """Eleven bytes a lie: a field of the footer and what it says instead, or a byte before it."""
    body, footer = split_file(get_honest())
    changed = bytearray(body)
    fields = list_fields(footer)
    for at in range(0, min(len(data), 44), 11):
        lie = data[at : at + 11].ljust(11, b"\0")
        place, value = int.from_bytes(lie[1:3], "big"), int.from_bytes(lie[3:], "big", signed=True)
        if lie[0] & 1:
            changed[place % len(changed)] = value & 255
        else:
            path, old = fields[place % len(fields)]
            set_field(footer, path, value if isinstance(old, int) else lie[3:] * (lie[0] >> 1))
    read_whole(join_file(bytes(changed), footer))


def attack_pages(data: bytes) -> None:
    numbers, pages = data[:3].ljust(3, b"\0"), data[3:]
    try:
        check_pages(pages, "it", numbers[0], numbers[1] << 8, numbers[2])
    except FileFault:
        return


def list_pages() -> list[bytes]:
    body, footer = split_file(get_honest())
    chunks = [c[3][1] for group in footer[4][1][1] for c in group[1][1][1]]
    spans = [(chunk[9][1], chunk[9][1] + chunk[7][1], chunk[5][1]) for chunk in chunks]
    return [bytes([values & 255, 255, 4]) + body[a:b] for a, b, values in spans]


def attack_footer_reply(data: bytes) -> None:
    """What the caged parser says of a footer, were it taken over."""
    found = unpack_footer(data, LIMITS, 1 << 20, b"")
    assert isinstance(found, Refusal) or 1 <= len(found.ranges) == len(found.claims.leaves)


def list_footer_replies() -> list[bytes]:
    reply = b"\0\0\0\2\0\0\0\1hh" + bytes(32) + (4).to_bytes(8, "big") + (99).to_bytes(8, "big")
    return [reply, b"", bytes(8), b"\xff" * 8]


# A model folder


def attack_safetensors(data: bytes) -> None:
    try:
        tensors = digest_safetensors(data)
    except EncodingError:
        return
    assert len(compute_tensor_root(tensors)) == 32


def list_safetensors() -> list[bytes]:
    vector = read_vectors("manifest")
    found = []
    for entry in [vector["safetensors"], *vector["bad_safetensors"]]:
        header = entry["header"].encode()
        found.append(len(header).to_bytes(8, "little") + header + bytes.fromhex(entry["data"]))
    return found


def attack_passages(data: bytes) -> None:
    try:
        passages = decode_passages(data)
    except EncodingError:
        return
    assert encode_passages(passages) == data


def attack_config(data: bytes) -> None:
    try:
        config = read_json(data)
    except EncodingError:
        return
    compute_bytes_max(config)
    find_misfit(config, {"model.embed_tokens.weight": (98, 96)})


def attack_tokenizer(data: bytes) -> None:
    with TemporaryDirectory() as name:
        (Path(name) / TOKENIZER_FILES[0]).write_bytes(data)
        (Path(name) / TOKENIZER_FILES[1]).write_bytes(b"{}")
        try:
            load_tokenizer(Path(name)).get_vocab()
        except UnusableCheckpointError:
            return


def read_genesis(name: str) -> list[bytes]:
    return [(GENESIS / name).read_bytes()]


def attack_problem(data: bytes) -> None:
    """A row of a file of problems: what is taken can be asked, and its own answer is right."""
    try:
        row = read_row(data)
    except ValueError:
        return
    asked = gsm.make_row_problem(row, 1)
    assert make_environment("gsm", {}).score(asked, f"#### {row.value}").correctness == MILLION
    asked.prompt.encode()


def list_problems() -> list[bytes]:
    return [
        b'{"question": "How many?", "answer": "#### 1"}',
        b'{"question": "a\\u00e9\\n", "answer": "1+1=<<1+1=2>>2\\n#### -1,234", "x": [1.5]}',
    ]


TARGETS: dict[str, Target] = {
    **{
        of.__name__.lower(): Target(partial(attack_encoding, of), partial(list_encodings, of))
        for of in ENCODED
    },
    **{
        f"{of.__name__.lower()}.json": Target(partial(attack_json, of), partial(list_json, of))
        for of in ENCODED
    },
    "window_record": Target(
        partial(attack_record, decode_window_record), partial(list_records, "windows")
    ),
    "settlement_record": Target(
        partial(attack_record, decode_settlement_record), partial(list_records, "settlements")
    ),
    "rows": Target(attack_rows, list_rows),
    "problem": Target(attack_problem, list_problems),
    "commitment": Target(attack_commitment, list_commitments),
    "ss58": Target(attack_ss58, list_addresses),
    "beacon.signature": Target(attack_beacon, list_beacons),
    "parameters.json": Target(attack_parameters, lambda: list_json(Parameters)),
    "context.json": Target(
        attack_context, lambda: [json.dumps(read_vectors("context")["valid"]).encode()]
    ),
    "submission": Target(read_whole, lambda: [get_honest()], 100),
    "submission.footer": Target(
        attack_footer, lambda: [get_honest()[len(split_file(get_honest())[0]) : -8]], 100
    ),
    "submission.lies": Target(attack_with_lies, lambda: [b"", bytes(44), b"\xff" * 33], 300),
    "submission.pages": Target(attack_pages, list_pages),
    "submission.reply": Target(attack_footer_reply, list_footer_replies),
    "safetensors": Target(attack_safetensors, list_safetensors),
    "calibration_set.json": Target(
        attack_passages, lambda: [b"[[[1,2],[3]],\n[[4],[5]]]\n", *read_genesis(PASSAGES_FILE)]
    ),
    "config.json": Target(attack_config, lambda: read_genesis("config.json")),
    "tokenizer.json": Target(attack_tokenizer, lambda: read_genesis("tokenizer.json"), 60),
}
