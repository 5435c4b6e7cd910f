"""What the fuzzers attack: a name → a decoder, what it may raise, and bytes to start from.

The contract of each: garbage gives a value or the one documented error, and what decodes encodes
back to the same bytes. A target raises whatever breaks that. `test_fuzz.py` runs them all under
hypothesis, `run.py` under atheris.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from assay.artifacts.steps.parquet_pages import check_pages
from assay.artifacts.steps.parquet_worker import FileFault, ParquetWorker
from assay.artifacts.steps.step_file import open_step_parser
from assay.artifacts.submissions.submission_file import read_whole
from assay.artifacts.submissions.submission_pack import (
    PackedPart,
    PackedRefusal,
    PackedSubmission,
    PackError,
    decode_pack,
    encode_pack,
    measure_pack,
)
from assay.environments import gsm, make_environment
from assay.environments.math_answer import TEXT_MAX, read_math
from assay.environments.math_file import read_math_row
from assay.environments.problem_file import read_row
from assay.environments.programs.code_file import read_code_row
from assay.environments.programs.outputs import agree_as_text, agree_as_value
from assay.inference import UnusableCheckpointError
from assay.inference.architecture import compute_bytes_max, find_misfit
from assay.inference.folder import PASSAGES_FILE, TOKENIZER_FILES, digest_chat_template
from assay.inference.passages import decode_passages, encode_passages
from assay.inference.tokenizing.folder_tokenizer import FolderTokenizer, load_tokenizer
from assay.protocol import (
    QUICKNET,
    Beacon,
    BeaconChain,
    Calibration,
    EncodingError,
    Header,
    Manifest,
    Parameters,
    Reason,
    Rollout,
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
from assay.protocol.bit_fields import BitWriter
from assay.protocol.encoding import decode, encode, from_json, read_json, to_json
from assay.protocol.manifest import compute_tensor_root, digest_safetensors
from assay.protocol.parameters import MILLION, find_parameters_fault
from assay.protocol.record import make_record_context
from assay.protocol.submission import (
    HEADER_BYTES,
    GroupHead,
    GroupSizes,
    Opening,
    _compute_classes,
    _encode_proof,
    decode_group_head,
    decode_ids,
    decode_opening,
    decode_proof,
    encode_ids,
)
from assay.rounds.wire import DifferenceForm, decode_difference, encode_difference
from assay.training import GENESIS
from tests.artifacts.steps.parquet_files import (
    join_file,
    list_fields,
    read,
    set_field,
    split_file,
    write_step,
)

TESTS = Path(__file__).parents[1]
#: V of the genesis checkpoint.
VOCABULARY = 98


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


# A submission's file, and what was read of one


def attack_opening(data: bytes) -> None:
    try:
        opening = decode_opening(data, max(0, len(data) - HEADER_BYTES) // 12)
    except EncodingError:
        return
    assert encode(opening.header) + b"".join(map(encode, opening.sizes)) == data
    assert opening.file_bytes >= len(data)


def list_openings() -> list[bytes]:
    vector = read_vectors("submission")
    bad = [bytes.fromhex(entry["bytes"]) for entry in vector["bad_openings"]]
    return [bytes.fromhex(vector["header_encoding"] + vector["index"]), *bad]


def make_opening(sizes: GroupSizes, id_bits: int, size: int) -> Opening:
    header = from_json(Header, read_vectors("submission")["header"])
    return Opening(replace(header, id_bits=id_bits, group_size=size), (sizes,))


def attack_head(data: bytes) -> None:
    """A number of rollouts, bits of an id, bytes of ids and of proofs, then a head."""
    size, id_bits = max(1, data[0] % 9) if data else 1, data[1] % 33 if data[1:] else 7
    ids, proofs = (int.from_bytes(data[at : at + 2], "big") for at in (2, 4))
    head = data[6:]
    try:
        found = decode_group_head(
            head, make_opening(GroupSizes(len(head), ids, proofs), id_bits, size), 0
        )
    except EncodingError:
        return
    fields = BitWriter()
    for column in (found.lengths, found.ids_bytes, found.proof_bytes):
        fields.write_narrow(column)
    found.ids_code.write(fields)
    found.class_code.write(fields)
    assert b"".join((*found.ids_digests, *found.proof_digests)) + fields.finish() == head


def list_heads() -> list[bytes]:
    vector = read_vectors("submission")
    heads = [
        (len(g["rollouts"]), g["id_bits"], len(g["ids"]) // 2, len(g["proofs"]) // 2, g["head"])
        for g in (*vector["groups"], *vector["other_groups"])
    ]
    heads += [(2, 7, *bad["sizes"][1:], bad["head"]) for bad in vector["bad_heads"]]
    return [
        bytes([size, id_bits])
        + ids.to_bytes(2, "big")
        + proofs.to_bytes(2, "big")
        + bytes.fromhex(head)
        for size, id_bits, ids, proofs, head in heads
    ]


@cache
def read_heads() -> list[GroupHead]:
    vector = read_vectors("submission")
    return [
        decode_group_head(
            bytes.fromhex(entry["head"]),
            make_opening(
                GroupSizes(*(len(entry[part]) // 2 for part in ("head", "ids", "proofs"))),
                entry["id_bits"],
                len(entry["rollouts"]),
            ),
            0,
        )
        for entry in (*vector["groups"], *vector["other_groups"])
    ]


def attack_ids(data: bytes) -> None:
    """Whose head, then a record of its first rollout's ids."""
    head = read_heads()[data[0] % len(read_heads()) if data else 0]
    try:
        tokens = decode_ids(data[1:], head, 0)
    except EncodingError:
        return
    assert len(tokens) == head.lengths[0]
    assert encode_ids(tokens.astype(np.int64), head.ids_code) == data[1:]


def attack_proof(data: bytes) -> None:
    """Likewise, its proof."""
    head = read_heads()[data[0] % len(read_heads()) if data else 0]
    try:
        proof = decode_proof(data[1:], head, 0)
    except EncodingError:
        return
    assert len(proof.logprobs) == len(proof.sketch) == head.lengths[0]
    rollout = Rollout(proof.logprobs, proof.logprobs, proof.sketch)
    classes = _compute_classes(proof.logprobs)
    assert _encode_proof(rollout, classes, head.class_code) == data[1:]


def list_records_of(part: str) -> list[bytes]:
    vector = read_vectors("submission")
    found = []
    for number, (entry, head) in enumerate(
        zip((*vector["groups"], *vector["other_groups"]), read_heads(), strict=True)
    ):
        where = head.find_ids(0) if part == "ids" else head.find_proof(0)
        record = bytes.fromhex(entry[part])[where.start : where.end]
        found.append(bytes([number]) + record)
    bad = [entry["bytes"] for entry in vector["bad_records"] if entry["part"] == part]
    return found + [b"\0" + bytes.fromhex(record) for record in bad]


def attack_file(data: bytes) -> None:
    """A file that somebody has on this machine."""
    try:
        opening, groups = read_whole(BytesIO(data))
        found = list(groups)
    except EncodingError:
        return
    assert len(found) == opening.header.groups
    assert {len(group) for group in found} == {opening.header.group_size}


def attack_pack(data: bytes) -> None:
    try:
        packed = decode_pack(data)
    except PackError:
        return
    assert encode_pack(packed) == data
    assert measure_pack(packed) <= len(data)


def list_packs() -> list[bytes]:
    part = PackedPart(0, 3, b"abc", None)
    refused = PackedPart(9, 3, None, PackedRefusal(Reason.NOT_REVEALED, "nothing is there"))
    parts = ((part,), (part, refused), ())
    return [encode_pack(PackedSubmission(bytes(32), some)) for some in parts]


# A step's file


@cache
def get_parser() -> ParquetWorker:
    return open_step_parser()


@cache
def get_step() -> bytes:
    with TemporaryDirectory() as name:
        return write_step(Path(name))


def attack_step(data: bytes) -> None:
    """Groups, or a sentence."""
    with TemporaryDirectory() as name:
        try:
            read(data, Path(name), get_parser())
        except ValueError as error:
            said = str(error)
        else:
            return
    assert said.isprintable()


def attack_footer(data: bytes) -> None:
    body, _ = split_file(get_step())
    attack_step(join_file(body, data))


def attack_with_lies(data: bytes) -> None:
    """Eleven bytes a lie: a field of the footer and what it says instead, or a byte before it."""
    body, footer = split_file(get_step())
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
    attack_step(join_file(bytes(changed), footer))


def attack_pages(data: bytes) -> None:
    numbers, pages = data[:3].ljust(3, b"\0"), data[3:]
    try:
        check_pages(pages, "it", numbers[0], numbers[1] << 8, numbers[2])
    except FileFault:
        return


def list_pages() -> list[bytes]:
    body, footer = split_file(get_step())
    chunks = [c[3][1] for group in footer[4][1][1] for c in group[1][1][1]]
    spans = [(chunk[11][1], chunk[11][1] + chunk[7][1], chunk[5][1]) for chunk in chunks]
    return [bytes([values & 255, 255, 4]) + body[a:b] for a, b, values in spans]


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


def attack_tokenizer_config(data: bytes) -> None:
    """Whatever a trainer writes there, a checkpoint is of no use or asks in ids that there are."""
    with TemporaryDirectory() as name:
        (Path(name) / TOKENIZER_FILES[0]).write_bytes((GENESIS / TOKENIZER_FILES[0]).read_bytes())
        (Path(name) / TOKENIZER_FILES[1]).write_bytes(data)
        try:
            hugging_face = load_tokenizer(Path(name))
            digest_chat_template(hugging_face)
            tokenizer = FolderTokenizer(hugging_face, VOCABULARY, (1,))
        except (UnusableCheckpointError, ValueError):
            return
    ids = tokenizer.encode("7+15=?\n")
    assert ids
    assert 0 <= min(ids) <= max(ids) < VOCABULARY
    assert len(tokenizer.drawable) == VOCABULARY
    tokenizer.decode(ids)


def list_tokenizer_configs() -> list[bytes]:
    config = json.loads((GENESIS / TOKENIZER_FILES[1]).read_text())
    templates = [entry["template"] for entry in read_vectors("chat_template")["rendered"]]
    return [json.dumps(config | {"chat_template": t}).encode() for t in [None, "x", *templates]]


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


def attack_math_answer(data: bytes) -> None:
    """A value or none; with blanks around it the same, and what agrees agrees with itself."""
    text = data.decode(errors="replace")
    found = read_math(text)
    if found is None:
        return
    assert found.agrees_with(found)
    if len(text) < TEXT_MAX - 2:
        assert read_math(f" {text}\n") == found
        assert read_math(f"{text},7777777") != found


def list_math_answers() -> list[bytes]:
    return [
        *(b"\\frac{270}7\\text{ degrees}", b"-3\\frac12", b"\\{1\\pm\\sqrt{5},-2\\}", b"1,\\!000"),
        *(b"x \\in (-\\infty,-1] \\cup \\left[\\frac\\pi6,\\infty\\right)", b"0.\\overline{27}"),
        *(
            b"\\$18.90",
            b"15\\mbox{ cm}^2",
            b"\\boxed{2^{-3}}.",
            b"x = 1 or x = 2",
            b"$$1, 2, and 3$$",
            b"$\\fbox{-5}$",
            b"9^{64}*9^{64}",
        ),
    ]


def attack_math_row(data: bytes) -> None:
    """Likewise of MATH's format; what is not asked has a reason."""
    try:
        row = read_math_row(data)
    except ValueError:
        return
    if row.name_reason() is None:
        assert row.text is not None
        assert read_math(row.text) == row.right is not None
        row.problem.encode()


def attack_code_row(data: bytes) -> None:
    """Likewise of programs' test cases; what is expected agrees with itself."""
    try:
        row = read_code_row(data)
    except ValueError:
        return
    for case in row.cases:
        agree = agree_as_text if row.function is None else agree_as_value
        assert agree(case.expected, case.expected.encode())


def list_code_rows() -> list[bytes]:
    texts = {"inputs": ["1 2\n", ["3", "4"]], "outputs": ["3\n", "7.0"]}
    values = {"fn_name": "f", "inputs": [[1, [2.5]]], "outputs": [{"a": [True, None, "x"]}]}
    rows = ({"question": "Add.", "input_output": json.dumps(tests)} for tests in (texts, values))
    return [json.dumps(row).encode() for row in rows]


def list_math_rows() -> list[bytes]:
    return [
        b'{"problem": "Half?", "solution": "It is $\\\\boxed{\\\\frac12}$.", "level": "Level 3"}',
        b'{"problem": "a\\u00e9", "solution": "\\\\boxed{\\\\{1\\\\}}", "answer": "x=3"}',
        b'{"problem": "Who?", "solution": "\\\\boxed{\\\\text{Ada}", "level": "Level ?"}',
    ]


#: What trainers' children may come in; feedback is no part of what is read.
FORMS = {
    "exact": DifferenceForm(),
    "rounded": DifferenceForm(bits=16),
    "sparse": DifferenceForm(5, 64, 2),
    "sparse.fine": DifferenceForm(3, 10, 8),
}


@cache
def make_masters() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A parent and a child."""
    generator = torch.Generator().manual_seed(1)
    parent = {name: torch.randn(size, generator=generator) for name, size in (("a", 70), ("b", 3))}
    return parent, {
        name: t + torch.randn(t.shape, generator=generator) for name, t in parent.items()
    }


def attack_difference(form: DifferenceForm, data: bytes) -> None:
    """What is decoded from zeros is encoded to the same bytes; a delta, which another compressor
    may have written, to what decodes to the same."""
    parent, _ = make_masters()
    origin = {name: torch.zeros_like(tensor) for name, tensor in parent.items()}
    try:
        decode_difference(parent, [data], form)
        seen = decode_difference(origin, [data], form)
    except EncodingError:
        return
    blobs, _ = encode_difference(origin, seen, form, {})
    assert blobs == [data] or not form.kept
    again = decode_difference(origin, blobs, form)
    assert all(again[n].numpy().tobytes() == t.numpy().tobytes() for n, t in seen.items())


def list_differences(form: DifferenceForm) -> list[bytes]:
    parent, child = make_masters()
    origin = {name: torch.zeros_like(tensor) for name, tensor in parent.items()}
    pairs = ((parent, child), (origin, child), (origin, origin))
    return [b"".join(encode_difference(*pair, form, {})[0]) for pair in pairs]


TARGETS: dict[str, Target] = {
    **{
        f"difference.{name}": Target(
            partial(attack_difference, form), partial(list_differences, form), 300
        )
        for name, form in FORMS.items()
    },
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
    "problem": Target(attack_problem, list_problems),
    "math.answer": Target(attack_math_answer, list_math_answers, 400),
    "code.row": Target(attack_code_row, list_code_rows),
    "math.row": Target(attack_math_row, list_math_rows),
    "commitment": Target(attack_commitment, list_commitments),
    "ss58": Target(attack_ss58, list_addresses),
    "beacon.signature": Target(attack_beacon, list_beacons),
    "parameters.json": Target(attack_parameters, lambda: list_json(Parameters)),
    "context.json": Target(
        attack_context, lambda: [json.dumps(read_vectors("context")["valid"]).encode()]
    ),
    "submission": Target(
        attack_file, lambda: [bytes.fromhex(read_vectors("submission")["file"])], 300
    ),
    "submission.opening": Target(attack_opening, list_openings, 300),
    "submission.head": Target(attack_head, list_heads, 600),
    "submission.ids": Target(attack_ids, partial(list_records_of, "ids"), 300),
    "submission.proof": Target(attack_proof, partial(list_records_of, "proofs"), 300),
    "submission.pack": Target(attack_pack, list_packs, 300),
    "step": Target(attack_step, lambda: [get_step()], 100),
    "step.footer": Target(
        attack_footer, lambda: [get_step()[len(split_file(get_step())[0]) : -8]], 100
    ),
    "step.lies": Target(attack_with_lies, lambda: [b"", bytes(44), b"\xff" * 33], 300),
    "step.pages": Target(attack_pages, list_pages),
    "safetensors": Target(attack_safetensors, list_safetensors),
    "calibration_set.json": Target(
        attack_passages, lambda: [b"[[[1,2],[3]],\n[[4],[5]]]\n", *read_genesis(PASSAGES_FILE)]
    ),
    "config.json": Target(attack_config, lambda: read_genesis("config.json")),
    "tokenizer.json": Target(attack_tokenizer, lambda: read_genesis("tokenizer.json"), 60),
    "tokenizer_config.json": Target(attack_tokenizer_config, list_tokenizer_configs, 60),
}
