"""Vectors of a model folder's JSON files: changes to a good folder, and which of them are refused.

Left out are templates, which need Jinja, texts of thousands of characters, and what only the
library notices. What only large files break is given by rules that write them.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))
from assay.gate.rules import UnfitError
from assay.gate.tokenizer_file import MARKS_MAX, MERGES_MAX, find_size_fault, find_tokenizer_fault
from assay.gate.tokenizer_settings import find_added_fault, read_settings
from assay.inference.families import find_config_fault
from assay.inference.folder import CONFIG_FILE, TOKENIZER_FILES
from assay.protocol.hashing import Domain, hash_fields
from assay.training import GENESIS
from tests.hostile_folders import REMOVED, VOCABULARY, Change, list_changes

Json = Any
_CORE, _SETTINGS = TOKENIZER_FILES
#: Most characters of a change in the file of vectors.
_LONGEST = 1_000


def make_folders() -> Json:
    """The good files, and each change as [path, value], or [path] of what goes."""
    files = {
        name: json.loads((GENESIS / name).read_text()) for name in (CONFIG_FILE, *TOKENIZER_FILES)
    }
    return {
        "vocabulary": VOCABULARY,
        "files": files,
        "changes": [
            {
                "about": change.about,
                "file": change.file,
                "edits": [
                    [list(path)] if value is REMOVED else [list(path), value]
                    for path, value in change.edits
                ],
                "refused": find_fault(change, files[change.file]) is not None,
            }
            for change in list_changes()
            if _is_for_all(change)
        ],
        "templates": [
            {"chat_template": template, "manifest": digest.hex(), "refused": refused}
            for template, digest, refused in _list_templates()
        ],
        "further": [
            {"data": data.hex(), "size": size, "refused": size != len(data)}
            for data, size in ((b"notes", 5), (b"notes", 4), (b"notes", 1 << 26), (b"", 0))
        ],
        "marks": [
            {"text": text, "times": times, "refused": _is_too_long(text, times)}
            for text in ("[],", "{:", '"[{,:"', "a")
            for times in (MARKS_MAX // 4, MARKS_MAX // 2, MARKS_MAX // 2 + 1, MARKS_MAX + 1)
        ],
        "merges": [
            {"times": times, "refused": times > MERGES_MAX}
            for times in (MERGES_MAX, MERGES_MAX + 1)
        ],
        "added": [case | {"refused": _counts_too_much(case)} for case in ADDED],
    }


#: Added tokens: of tokenizer.json as [characters, how many, normalized], of the other file as
#: [characters, how many]. Token i of a file is the number i, filled up with a character.
ADDED: tuple[Json, ...] = tuple(
    {"normalizer": normalizer, "core": core, "settings": settings, "fill": fill}
    for normalizer, core, settings, fill in (
        (None, [[240, 1_024, False]], [], "a"),
        (None, [[240, 1_024, False], [4, 1, False]], [], "a"),
        (None, [[240, 1_024, False]], [[240, 1_024]], "a"),
        (None, [[240, 1_024, False]], [[240, 1_024], [4, 1]], "a"),
        (None, [[240, 1_024, True]], [], "a"),
        (None, [[240, 512, False]], [], "\U0001f600"),
        (None, [[5, 10_000, False]], [], "a"),
        (None, [[5, 13_000, False]], [], "a"),
        ({"type": "NFC"}, [[240, 1_024, False]], [], "a"),
        ({"type": "NFC"}, [[240, 1_024, True]], [], "a"),
        ({"type": "NFC"}, [[20, 1_024, True]], [], "a"),
        ({"type": "NFC"}, [], [[20, 1_025]], "a"),
        ({"type": "NFC"}, [[20, 1_025, False]], [[20, 1_025]], "a"),
        ({"type": "NFD"}, [[20, 780, True]], [], "a"),
        ({"type": "NFD"}, [[20, 781, True]], [], "a"),
        ({"type": "NFKC"}, [[20, 180, True]], [], "a"),
        ({"type": "NFKD"}, [[20, 181, True]], [], "a"),
        (
            {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Prepend", "prepend": "ab"},
                    {"type": "Lowercase"},
                    {"type": "Replace", "pattern": {"String": "a"}, "content": "b"},
                ],
            },
            [[14, 1_820, True]],
            [],
            "a",
        ),
        ({"type": "Prepend", "prepend": "abcdefgh"}, [[24, 1_821, True]], [], "a"),
    )
)


def write_added(case: Json) -> tuple[Json, Json]:
    """The parts of tokenizer.json and tokenizer_config.json that have a case's added tokens."""

    def write(rows: Json) -> list[tuple[str, bool | None]]:
        flags = [(row[0], row[2] if row[2:] else None) for row in rows for _ in range(row[1])]
        return [
            (str(i).ljust(length, case["fill"]), flag) for i, (length, flag) in enumerate(flags)
        ]

    tokens = [{"content": text, "normalized": flag} for text, flag in write(case["core"])]
    core = {"normalizer": case["normalizer"], "added_tokens": tokens}
    return core, {"extra_special_tokens": [text for text, _ in write(case["settings"])]}


def _counts_too_much(case: Json) -> bool:
    return find_added_fault(*write_added(case)) is not None


def _is_too_long(text: str, times: int) -> bool:
    return find_size_fault((text * times).encode()) is not None


def _list_templates() -> list[tuple[str | None, bytes, bool]]:
    """A template, the digest that a manifest names, and whether that is another template's."""
    names = {text: hash_fields(Domain.CHAT_TEMPLATE, text.encode()) for text in ("", "x", "x ")}
    none = hash_fields(Domain.CHAT_TEMPLATE)
    every = [none, *names.values()]
    return [
        *((template, digest, digest != none) for template in (None, "") for digest in every),
        *(("x", digest, digest != names["x"]) for digest in every),
    ]


def find_fault(change: Change, document: Json) -> str | None:
    """Why the gate refuses the changed file, or None."""
    changed = change.apply(document)
    if change.file == CONFIG_FILE:
        return find_config_fault(changed)
    if change.file == _CORE:
        return find_tokenizer_fault(changed, VOCABULARY)
    try:
        read_settings(changed, VOCABULARY)
    except UnfitError as error:
        return str(error)
    return None


def _is_for_all(change: Change) -> bool:
    text = repr(change.edits)
    return (
        not change.about.startswith("template: ") and len(text) < _LONGEST and "\\ud8" not in text
    )
