"""What a stranger's model folder costs its reader: memory and processor time of each changed folder
of `tests/hostile_folders.py`, each in a process of its own; the tokenizers that cost most of those
that the gate lets pass, beside one of the size of the largest that people use; and the gate's share
of opening an honest one.

A changed folder is the shipped genesis with one change, so its own weights are less than a MiB. The
time counts opening it, encoding eight prompts and decoding all ids. Memory is what the process
gained over a process that did the same with the unchanged folder's JSON alone: what the libraries
take when they are first used is in both. The honest tokenizer has the size of Qwen2's: 151,643
tokens, as many merges, its regular expression and a ChatML template. Its baseline is the library
alone, with the files parsed once, as version 2 did. The largest one has 262,144 tokens, as many
merges (Gemma 3 has twice as many) and Gemma's 6,414 added ones. Each of the dearest is at one or
two of the gate's bounds: a file of 64 MiB, 3 * 2^20 values, 2^20 tokens, 2^20 merges, and added
tokens that count 2^18.
"""

import json
import os
import random
import resource
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
from figures import FAST, Figure, measure_together, report
from transformers import PreTrainedTokenizerFast

sys.path.append(str(Path(__file__).parents[1]))

from assay.environments.base import ask
from assay.gate.tokenizer_file import MARKS_MAX, MERGES_MAX, REGEXES
from assay.gate.tokenizer_settings import ADDED_MAX
from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import TOKENIZER_FILES, CheckpointError
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, make_tokenizer
from tests.hostile_folders import FILES, list_changes, write_changed

TOKENS = 2_000 if FAST else 151_643
VOCABULARY = TOKENS + 293
PROMPTS = [f"{number}+{number}=?\n" for number in range(8)]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def open_and_use(folder: Path, digest: bytes) -> None:
    """As a validator does."""
    try:
        tokenizer = load_checkpoint(folder, digest).tokenizer
    except CheckpointError:
        return
    for prompt in PROMPTS:
        tokenizer.encode(ask(prompt))
    tokenizer.decode(range(len(tokenizer.drawable)))


def spend(use: Callable[[], None]) -> tuple[float, float]:
    """Processor seconds and MiB that a use takes in a process that has loaded the libraries."""
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, process_time()
        use()
        spent = process_time() - began
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(writable, json.dumps([spent, max(0, after - before) / 1024]).encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    if status or not said:
        raise SystemExit(f"the process ended with {status}")
    seconds, mib = json.loads(said)
    return seconds, mib


def measure_hostile(folder: Path) -> list[Figure]:
    """The dearest of all changes."""
    changes = {f"{change.file}: {change.about}": change for change in list_changes()}
    every: dict[str, object] = {**changes, **FILES}
    names = list(every)[:: 20 if FAST else 1]
    open_and_use(folder / "first", write_changed(folder / "first", lambda _: None))
    costs = {}
    for number, name in enumerate(names):
        place = folder / str(number)
        digest = write_changed(place, every[name])  # type: ignore[arg-type]
        costs[name] = spend(lambda place=place, digest=digest: open_and_use(place, digest))
        shutil.rmtree(place)
    slowest, largest = (max(costs, key=lambda name, at=at: costs[name][at]) for at in (0, 1))
    return [
        Figure("changed folders that were opened", len(costs), ""),
        Figure(f"processor time, the dearest ({slowest})", costs[slowest][0], "s", bound=5.0),
        Figure(f"memory, the dearest ({largest})", costs[largest][1], "MiB", bound=512.0),
    ]


def write_large(folder: Path, count: int = TOKENS, more: int = 0) -> None:
    """A tokenizer of Qwen2's parts and of so many tokens, with merges of random tokens. `more`:
    added tokens besides."""
    chance = random.Random(0)
    tokens = [chr(0x100 + number) for number in range(256)]
    known, merges = set(tokens), []
    while len(tokens) < count:
        first, second = chance.choice(tokens), chance.choice(tokens[:2_000])
        if len(first) + len(second) <= 12 and first + second not in known:
            merges.append([first, second])
            tokens.append(first + second)
            known.add(first + second)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    texts = [*specials, *(f"<unused{number}>" for number in range(more))]
    added = [
        {"id": count + number, "content": text, **flags, "special": True}
        for number, text in enumerate(texts)
    ]
    pattern = {"Regex": REGEXES["Qwen2, Qwen3"]}
    split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    level["use_regex"] = False
    core = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": level,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": merges,
        },
    }
    settings = {
        "added_tokens_decoder": {
            str(token["id"]): {name: token[name] for name in token if name != "id"}
            for token in added[: len(specials)]
        },
        "additional_special_tokens": list(specials[1:]),
        "chat_template": CHATML,
        "eos_token": specials[2],
        "pad_token": specials[0],
        "model_max_length": 131_072,
        "tokenizer_class": "Qwen2Tokenizer",
    }
    for name, document in zip(TOKENIZER_FILES, (core, settings), strict=True):
        (folder / name).write_text(json.dumps(document, ensure_ascii=False))


def make_dear(
    vocab: dict[str, int], merges: Sequence[str] = (), added: Sequence[str] = (), form: str = ""
) -> dict[str, object]:
    """A tokenizer.json, whose added tokens a normalizer changes if it has a `form`."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "special": not form}
    return {
        "version": "1.0",
        "normalizer": {"type": form} if form else None,
        "added_tokens": [
            {"id": len(vocab) + at, "content": text, **flags, "normalized": bool(form)}
            for at, text in enumerate(added)
        ],
        "model": {"type": "BPE", "vocab": vocab, "merges": list(merges)},
    }


def make_longest(total: int, length: int, fill: str) -> list[str]:
    """Different texts of `length` characters, `total` characters together, that share little."""
    chance = random.Random(0)
    return [
        f"{number:06x}" + "".join(chance.choices(fill, k=length - 6))
        for number in range(total // length)
    ]


def make_most_merges() -> dict[str, object]:
    """As many entries and merges as fit among the values."""
    letters = [chr(0x4E00 + number) for number in range(1 << 10)]
    pairs = [(a, b) for a in letters for b in letters][: MERGES_MAX - len(letters) - 64]
    texts = [*letters, *(a + b for a, b in pairs)]
    vocab = {text: number for number, text in enumerate(texts)}
    return make_dear(vocab, [f"{a} {b}" for a, b in pairs])


LETTERS = {letter: number for number, letter in enumerate("0123456789+=?\n")}
#: Tokenizers at bounds of the gate.
DEAR: dict[str, Callable[[], dict[str, object]]] = {
    "long added tokens": lambda: make_dear(
        LETTERS, added=make_longest(ADDED_MAX * 512 // 528, 512, "abcdefghij")
    ),
    "short added tokens": lambda: make_dear(
        LETTERS, added=[f"{number:x}~" for number in range(ADDED_MAX // 22)]
    ),
    "added tokens that NFKC makes long": lambda: make_dear(
        LETTERS, added=make_longest(ADDED_MAX // 73, 256, "\ufdfa"), form="NFKC"
    ),
    "long entries": lambda: make_dear(
        {text: number for number, text in enumerate(make_longest(60 << 20, 512, "abcdefghij"))}
    ),
    "entries and merges": make_most_merges,
}


def measure_dear(folder: Path) -> list[Figure]:
    """The dearest tokenizers that are let pass, and values that are parsed in vain."""
    core, rows = folder / TOKENIZER_FILES[0], 1 << 20

    def open_once() -> None:
        with suppress(CheckpointError):
            make_tokenizer(folder, load_tokenizer(folder, rows), rows, ())

    def cost(write: Callable[[], object]) -> tuple[float, float]:
        spend(write)  # in a process of its own: what it takes is no reader's
        return spend(open_once)

    honest = cost(lambda: write_large(folder, *((1_000, 64) if FAST else (1 << 18, 6_411))))
    (folder / TOKENIZER_FILES[1]).write_text("{}")
    costs = {
        name: cost(lambda make=make: core.write_text(json.dumps(make(), ensure_ascii=False)))
        for name, make in [*DEAR.items()][: 2 if FAST else None]
    }
    values = b"[" + b"[]," * (MARKS_MAX // 2 - 2) + b"0]"
    costs["values that are no tokenizer"] = cost(lambda: core.write_bytes(values))
    compared = "an honest one of 262,144 tokens"
    return [
        figure
        for name, (seconds, mib) in costs.items()
        for figure in (
            Figure(f"{name}: processor time", seconds, "s", compared, honest[0], ratio_bound=4.0),
            Figure(f"{name}: memory", mib, "MiB", compared, honest[1], ratio_bound=4.0),
        )
    ]


def open_bare(folder: Path) -> None:
    """The library alone, and what is read from it; as version 2 opened it."""
    for name in TOKENIZER_FILES:
        json.loads((folder / name).read_text(), object_pairs_hook=take_pairs)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    largest = max(tokenizer.get_vocab().values())
    assert largest < VOCABULARY
    mask = np.zeros(VOCABULARY, bool)
    mask[list(tokenizer.get_vocab().values())] = True


def take_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose names differ."""
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def open_gated(folder: Path) -> None:
    """As every reader of a checkpoint opens it."""
    make_tokenizer(folder, load_tokenizer(folder, VOCABULARY), VOCABULARY, (TOKENS + 2,))


def measure_honest(folder: Path) -> list[Figure]:
    """Opening a large tokenizer, and prompts through its template."""
    write_large(folder)
    runs = (lambda: open_gated(folder), lambda: open_bare(folder))
    gated, bare = measure_together(runs, 3 if FAST else 7, process_time)
    library = load_tokenizer(folder, VOCABULARY)
    tokenizer = make_tokenizer(folder, library, VOCABULARY, (TOKENS + 2,))

    def put() -> None:
        for prompt in PROMPTS:
            tokenizer.encode(ask(prompt * 8))

    (asked,) = measure_together((put,), 21, process_time)
    return [
        Figure(
            f"opening an honest tokenizer of {TOKENS:,} tokens",
            gated,
            "s",
            "without the gate",
            bare,
            ratio_bound=1.2,
        ),
        Figure("a prompt through the template and the tokenizer", asked / len(PROMPTS), "s"),
    ]


def main() -> None:
    with TemporaryDirectory() as name:
        hostile, dear, honest = (Path(name) / part for part in ("hostile", "dear", "honest"))
        for folder in (hostile, dear, honest):
            folder.mkdir()
        figures = [*measure_hostile(hostile), *measure_dear(dear), *measure_honest(honest)]
        report("Folders of strangers", figures, 1)


if __name__ == "__main__":
    main()
