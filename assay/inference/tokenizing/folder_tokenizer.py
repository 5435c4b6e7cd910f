"""Loads a model folder's tokenizer by the library transformers.

A large vocabulary takes seconds to parse, and the checkpoints of a course share one: the tokenizer
that was loaded last stays in memory, and serves whoever brings files with the same bytes.

Specification, section 3.
"""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from transformers import PreTrainedTokenizerFast

from assay.gate.rules import UnfitError
from assay.gate.tokenizer import FolderTokenizer
from assay.gate.tokenizer_files import check_tokenizer_files, digest_template
from assay.inference.folder import (
    TOKENIZER_FILES,
    UnusableCheckpointError,
    hold_alone,
    read_small_file,
)
from assay.protocol.manifest import Manifest
from assay.sandbox.thrown import LibraryError, catch_thrown

_CORE, _SETTINGS = TOKENIZER_FILES
_BOTH = f"{_CORE} with {_SETTINGS}"

#: Digests of both files and V.
_Key = tuple[bytes, bytes, int]
#: The tokenizer that was loaded last.
_last: tuple[_Key, PreTrainedTokenizerFast] | None = None
#: What was made of a tokenizer, by V and the end tokens, and the lock that all of them share.
_Made = tuple[AbstractContextManager[Any], dict[tuple[int, tuple[int, ...]], FolderTokenizer]]
_MADE_MAX = 4
_made: WeakKeyDictionary[PreTrainedTokenizerFast, _Made] = WeakKeyDictionary()


def open_tokenizer(folder: Path, manifest: Manifest, vocabulary: int) -> FolderTokenizer:
    """The tokenizer of a checkpoint's folder, with its chat template checked against the manifest.

    Args:
        vocabulary: V, rows of the model's output matrix.

    Raises:
        CheckpointError: a file is missing. UnusableCheckpointError: nobody can use it, or the
            manifest names another template than its files have.
    """
    tokenizer = load_tokenizer(folder, vocabulary)
    if digest_template(tokenizer.chat_template) != manifest.chat_template:
        raise UnusableCheckpointError(
            f"{folder}: the digest of the template in {_SETTINGS} is not chat_template"
        )
    return make_tokenizer(folder, tokenizer, vocabulary, manifest.end_tokens)


def make_tokenizer(
    folder: Path, tokenizer: PreTrainedTokenizerFast, vocabulary: int, end_tokens: Sequence[int]
) -> FolderTokenizer:
    """A `FolderTokenizer`. Raises an UnusableCheckpointError where it would raise a ValueError."""
    try:
        return wrap_tokenizer(tokenizer, vocabulary, end_tokens)
    except ValueError as error:
        raise UnusableCheckpointError(f"{folder}: {error}") from None


def wrap_tokenizer(
    tokenizer: PreTrainedTokenizerFast, vocabulary: int, end_tokens: Sequence[int]
) -> FolderTokenizer:
    """A `FolderTokenizer` over one of transformers. Raises the same ValueError."""
    lock, made = _made.setdefault(tokenizer, (Lock(), {}))
    key = vocabulary, tuple(end_tokens)
    if key not in made:
        if len(made) == _MADE_MAX:
            made.clear()
        with catch_thrown():
            special = tokenizer.special_tokens_map
        # alone: the library's wrapper acts on fields whose nonsense values would crash it
        backend, template = tokenizer.backend_tokenizer, tokenizer.chat_template
        made[key] = FolderTokenizer(backend, special, template, vocabulary, end_tokens, lock)
    return made[key]


def load_tokenizer(folder: Path, vocabulary: int) -> PreTrainedTokenizerFast:
    """The tokenizer exactly as the two hashed files define it. The gate checks both before the
    library sees them.

    `AutoTokenizer` would pick a class by the model's type, and that class rebuilds the file in its
    own way: for Qwen2 it drops white space that another tokenizer in the folder keeps.

    Args:
        vocabulary: V, rows of the model's output matrix.

    Raises:
        CheckpointError: a file is missing.
        UnusableCheckpointError: the files are not a tokenizer that may be used.
    """
    global _last
    data, settings = (read_small_file(folder, name) for name in TOKENIZER_FILES)
    key = sha256(data).digest(), sha256(settings).digest(), vocabulary
    last = _last
    if last is None or last[0] != key:
        last = _last = key, _load(folder, data, settings, vocabulary)
    return last[1]


def _load(folder: Path, data: bytes, settings: bytes, vocabulary: int) -> PreTrainedTokenizerFast:
    try:
        _, kept = check_tokenizer_files(data, settings, vocabulary)
    except UnfitError as error:
        raise UnusableCheckpointError(f"{folder}: {error}") from None
    with hold_alone({_CORE: data, _SETTINGS: json.dumps(kept).encode()}) as alone:
        try:
            with catch_thrown():
                return PreTrainedTokenizerFast.from_pretrained(alone, local_files_only=True)
        except LibraryError as error:
            detail = f"{folder}: {_BOTH} is no tokenizer that loads: {error}"
            raise UnusableCheckpointError(detail) from None
