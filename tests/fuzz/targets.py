"""The targets of the fuzzers: name → a decoder, the errors that it may raise, and bytes to start
from.

The contract of each: garbage gives a value or the one documented error, and a decoded value encodes
back to the same bytes. A target raises an error if its decoder breaks that. `test_fuzz.py` runs
them all under hypothesis, `run.py` under atheris.
"""

import json
import random
from contextlib import suppress
from functools import cache, partial
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from assay.artifacts.gates.file import (
    GateAnswers,
    GateModel,
    open_answers_parser,
    parse_answers,
    write_answers,
)
from assay.artifacts.steps.file import open_step_parser
from assay.artifacts.steps.parquet_pages import check_pages
from assay.artifacts.steps.parquet_worker import FileFault, ParquetWorker
from assay.artifacts.steps.returns import parse_return
from assay.audit.recorded_answers import ChainAnswers, RecordedAnswers
from assay.environments import gsm
from assay.environments.base import ask
from assay.environments.math_answer import TEXT_MAX, read_math
from assay.environments.math_file import read_math_row
from assay.environments.problem_file import read_row
from assay.environments.programs.code_file import read_code_row
from assay.environments.programs.outputs import agree_as_text, agree_as_value
from assay.gate.chat_template import ChatTemplate, TemplateFault
from assay.gate.tokenizer import FolderTokenizer
from assay.gate.tokenizer_file import find_tokenizer_fault
from assay.inference.families import find_config_fault, find_misfit
from assay.inference.folder import PASSAGES_FILE, TOKENIZER_FILES, UnusableCheckpointError
from assay.inference.passages import decode_passages, encode_passages
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, make_tokenizer
from assay.judge.about import About, AuditedWindows
from assay.network.chain.forms import BlockStamp
from assay.network.evm import LedgerEntry, SignedCall
from assay.protocol.context import Context, Member, context_from_json
from assay.protocol.encoding import EncodingError, encode, from_json, read_json, to_json
from assay.protocol.manifest import compute_tensor_root, digest_safetensors
from assay.protocol.parameters import MILLION, Gate, GateRule
from assay.protocol.reason import Reason
from assay.protocol.step import ReturnRecord
from assay.rounds.wire import DifferenceForm, decode_difference, encode_difference
from assay.sandbox.thrown import LibraryError, catch_thrown
from assay.training import GENESIS
from assay.verification import GroupValue, Ledger, Statistics, VerdictRecord
from tests.artifacts.steps.parquet_files import (
    join_file,
    list_fields,
    read,
    set_field,
    split_file,
    write_step,
)
from tests.fuzz.hostile_tokenizers import PARTS_VOCABULARY, make_core, make_text
from tests.fuzz.protocol_targets import (
    PROTOCOL_TARGETS,
    Target,
    attack_encoding,
    attack_json,
    read_vectors,
)
from tests.hostile_folders import TEMPLATES, VOCABULARY

# Files of our own, which a disk may damage and a stranger may have made

FACTS = RecordedAnswers(
    bytes(32),
    2,
    99,
    ChainAnswers(
        block={7: BlockStamp(bytes(32), 12_000), 8: None},
        body={},
        commitments={7: {b"a" * 32: b"slot"}},
        commitment_blocks={7: {b"a" * 32: 5}, 8: None},
        epoch={7: True},
        members={7: {b"a" * 32: Member(1, 5)}},
        owner={7: b"o" * 32},
        weights={7: {b"v" * 32: {1: 65_535}}},
    ),
    ledger={7: bytes(32)},
)
FILES: tuple[Any, ...] = (
    About(2, b"v" * 32, 2, AuditedWindows(0, 9), bytes(32)),
    Ledger(2, (0.5, -inf)),
    LedgerEntry(bytes(32), bytes(32), bytes(32), 3, bytes(32)),
    SignedCall(b"raw", bytes(32), 1, 2),
    VerdictRecord(
        4,
        bytes(32),
        Reason.ACCEPTED,
        "every check passed",
        statistics=Statistics(3, 0.1, inf),
        groups=(GroupValue(0, 1 << 70, (0, 1_000_000), (0, 1_000_000), (1,)),),
        witness=b"\x01\x02",
    ),
)


def attack_facts(data: bytes) -> None:
    try:
        facts = from_json(RecordedAnswers, read_json(data))
    except EncodingError:
        return
    assert from_json(RecordedAnswers, to_json(facts)) == facts  # empty tables may be left out


def attack_kept_context(data: bytes) -> None:
    attack_json(Context, data)


def make_kept_context() -> bytes:
    return json.dumps(to_json(context_from_json(read_vectors("context")["valid"]))).encode()


GATE = Gate(GateRule.NOT_WORSE, problems=4, error_worse=50_000, error_better=50_000)


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
    """Eleven bytes make a lie: a field of the footer and its false value, or a byte before the
    footer."""
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


# A gate's answers, and a return


@cache
def get_answers_parser() -> ParquetWorker:
    return open_answers_parser()


def attack_answers(data: bytes) -> None:
    """Answers that make the same file again when they are written and read, or a sentence."""
    try:
        answers = parse_answers(data, GATE, 4, 9, get_answers_parser())
    except EncodingError as error:
        said = str(error)
    else:
        said = ""
    assert said.isprintable()
    if said:
        return
    again = parse_answers(write_answers(answers), GATE, 4, 9, get_answers_parser())
    for model in GateModel:
        assert [one.tolist() for one in answers.get(model)] == [
            one.tolist() for one in again.get(model)
        ]


def make_answers() -> list[bytes]:
    own = [np.arange(length, dtype=np.uint32) for length in (4, 0, 3, 1)]
    return [write_answers(GateAnswers(own, own[::-1], own[:1]))]


def attack_return(data: bytes) -> None:
    with suppress(EncodingError):
        made = parse_return(data)
        assert len(made.record.digest) == 32


def list_returns() -> list[bytes]:
    record = ReturnRecord(4, "it", bytes(32), 7, 9, b"p" * 32, b"m" * 32, b"t" * 32, b"o" * 32)
    document = {"digest": record.digest.hex(), "child": "00" * 32, "record": to_json(record)}
    return [json.dumps(document).encode()]


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
    """A config is refused, or every number in it is within its bounds."""
    try:
        config = read_json(data)
    except EncodingError:
        return
    fault = find_config_fault(config)
    misfit = find_misfit(config, {"model.embed_tokens.weight": (98, 96)})
    assert misfit is not None
    if fault is None:
        assert 1 <= config["vocab_size"] <= 1 << 20


def write_tokenizer(folder: Path, core: bytes, settings: bytes) -> FolderTokenizer | None:
    """The tokenizer of these files, or None if nobody can use them."""
    for name, data in zip(TOKENIZER_FILES, (core, settings), strict=True):
        (folder / name).write_bytes(data)
    try:
        library = load_tokenizer(folder, VOCABULARY)
        return make_tokenizer(folder, library, VOCABULARY, (1,))
    except UnusableCheckpointError:
        return None


def attack_tokenizer(data: bytes) -> None:
    """Whatever a trainer writes there, a tokenizer is of no use or asks in ids that there are."""
    with TemporaryDirectory() as name:
        tokenizer = write_tokenizer(Path(name), data, b"{}")
    if tokenizer is not None:
        use(tokenizer)


def attack_tokenizer_config(data: bytes) -> None:
    with TemporaryDirectory() as name:
        core = (GENESIS / TOKENIZER_FILES[0]).read_bytes()
        tokenizer = write_tokenizer(Path(name), core, data)
    if tokenizer is not None:
        use(tokenizer)


def use(tokenizer: FolderTokenizer) -> None:
    assert len(tokenizer.drawable) == VOCABULARY
    for prompt in ("7+15=?\n", "ÿ\u2028<end>", ""):
        ids = tokenizer.encode(ask(prompt))
        assert ids
        assert 0 <= min(ids) <= max(ids) < VOCABULARY
        tokenizer.decode(ids)
    tokenizer.decode([*range(VOCABULARY), VOCABULARY, (1 << 32) - 1, 0])


def attack_template(data: bytes) -> None:
    """A template is refused, or makes text or fails, each time alike and within its budgets."""
    try:
        template = ChatTemplate(data.decode(errors="replace"), {"bos_token": "<s>"})
    except ValueError:
        return

    def render() -> str | None:
        try:
            return template.render(ask("9+1=?\n").messages)
        except TemplateFault:
            return None

    text = render()
    assert text == render()
    assert text is None or len(text) < 1 << 21


def list_templates() -> list[bytes]:
    known = [entry["template"] for entry in read_vectors("chat_template")["rendered"]]
    return [text.encode() for text in (*known, *TEMPLATES.values()) if len(text) < 1 << 12]


def attack_tokenizer_parts(data: bytes) -> None:
    """Any parts on the list, in any order: the library loads them, none panics at ids, and no text
    has more ids than a few for each byte."""
    chance = random.Random(data)
    core = make_core(chance)
    assert find_tokenizer_fault(core, PARTS_VOCABULARY) is None
    with catch_thrown():
        tokenizer = Tokenizer.from_str(json.dumps(core))
    text = make_text(chance, 60)
    with suppress(LibraryError), catch_thrown():  # some texts have no ids: the prompt is the id 0
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert len(ids) <= 16 * (len(text.encode()) + 16)
    drawn = [chance.randrange(PARTS_VOCABULARY) for _ in range(chance.randrange(60))]
    with catch_thrown():
        tokenizer.decode(drawn, skip_special_tokens=False)


def list_tokenizer_configs() -> list[bytes]:
    config = json.loads((GENESIS / TOKENIZER_FILES[1]).read_text())
    templates = [entry["template"] for entry in read_vectors("chat_template")["rendered"]]
    return [json.dumps(config | {"chat_template": t}).encode() for t in [None, "x", *templates]]


def read_genesis(name: str) -> list[bytes]:
    return [(GENESIS / name).read_bytes()]


# Files of problems, and answers to them


def attack_problem(data: bytes) -> None:
    """A row of a file of problems: an accepted row can be asked, and its own answer is right."""
    try:
        row = read_row(data)
    except ValueError:
        return
    environment = gsm.Gsm({})
    asked = environment.make_row_problem(row, 1)
    assert environment.score(asked, f"#### {row.value}").correctness == MILLION
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
    """The same for MATH's format; a skipped row has a reason."""
    try:
        row = read_math_row(data)
    except ValueError:
        return
    if row.name_reason() is None:
        task = row.make_task()
        assert task.accepts(task.text)
        row.problem.encode()


def attack_code_row(data: bytes) -> None:
    """The same for programs' test cases; the expected output agrees with itself."""
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


# Files of a round's trainer

#: Forms of trainers' children. Readers do not need their feedback.
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
    """A child decoded from zeros encodes to the same bytes. A delta, which another compressor may
    have written, encodes to bytes that decode to the same."""
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
    **PROTOCOL_TARGETS,
    "problem": Target(attack_problem, list_problems),
    "math.answer": Target(attack_math_answer, list_math_answers, 400),
    "code.row": Target(attack_code_row, list_code_rows),
    "math.row": Target(attack_math_row, list_math_rows),
    "step": Target(attack_step, lambda: [get_step()], 100),
    "step.footer": Target(
        attack_footer, lambda: [get_step()[len(split_file(get_step())[0]) : -8]], 100
    ),
    **{
        type(file).__name__.lower(): Target(
            partial(attack_encoding, type(file)), partial(lambda file: [encode(file)], file)
        )
        for file in (*FILES, FACTS)
    },
    **{
        f"{type(file).__name__.lower()}.json": Target(
            partial(attack_json, type(file)),
            partial(lambda file: [json.dumps(to_json(file)).encode()], file),
        )
        for file in FILES
    },
    "facts.json": Target(attack_facts, lambda: [json.dumps(to_json(FACTS)).encode()]),
    "context.journal": Target(attack_kept_context, lambda: [make_kept_context()]),
    "step.lies": Target(attack_with_lies, lambda: [b"", bytes(44), b"\xff" * 33], 300),
    "step.pages": Target(attack_pages, list_pages),
    "gate.answers": Target(attack_answers, make_answers, 100),
    "return.json": Target(attack_return, list_returns),
    "safetensors": Target(attack_safetensors, list_safetensors),
    "calibration_set.json": Target(
        attack_passages, lambda: [b"[[[1,2],[3]],\n[[4],[5]]]\n", *read_genesis(PASSAGES_FILE)]
    ),
    "config.json": Target(attack_config, lambda: read_genesis("config.json")),
    "tokenizer.json": Target(attack_tokenizer, lambda: read_genesis("tokenizer.json"), 60),
    "tokenizer.parts": Target(attack_tokenizer_parts, lambda: [b"", b"1", b"2"], 100),
    "chat_template.jinja": Target(attack_template, list_templates, 60),
    "tokenizer_config.json": Target(attack_tokenizer_config, list_tokenizer_configs, 60),
}
