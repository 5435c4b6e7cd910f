"""Loads a model folder's tokenizer by the library transformers.

Specification, section 3.
"""

import json
from collections.abc import Sequence
from pathlib import Path

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
    with catch_thrown():
        special = tokenizer.special_tokens_map
    # alone: the library's wrapper acts on fields whose nonsense values would crash it
    backend = tokenizer.backend_tokenizer
    return FolderTokenizer(backend, special, tokenizer.chat_template, vocabulary, end_tokens)


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
    data, settings = (read_small_file(folder, name) for name in TOKENIZER_FILES)
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
