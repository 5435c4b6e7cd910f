"""Vectors of a model folder's JSON files: changes to a good folder, and which of them are refused.

Left out are templates, which need Jinja, texts of thousands of characters, and what only the
library notices.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))
from assay.inference.families import find_config_fault
from assay.inference.folder import CONFIG_FILE, TOKENIZER_FILES
from assay.inference.gate.rules import UnfitError
from assay.inference.gate.tokenizer_file import find_tokenizer_fault
from assay.inference.gate.tokenizer_settings import read_settings
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
    }


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
