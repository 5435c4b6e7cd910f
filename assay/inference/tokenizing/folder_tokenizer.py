"""A folder's tokenizer: prompts to token ids, and completions back to text.

Of the model it knows only the vocabulary's size.

Specification, section 3.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from assay.inference.folder import (
    TOKENIZER_FILES,
    CheckpointError,
    UnusableCheckpointError,
    copy_of,
    digest_chat_template,
)
from assay.inference.tokenizing.chat_template import ChatTemplate
from assay.protocol.manifest import Manifest


class FolderTokenizer:
    """The judge's `Tokenizer` over a Hugging Face one. Safe to share between threads.

    Args:
        tokenizer: a fast tokenizer.
        vocabulary: V, rows of the model's output matrix.
        end_tokens: of the manifest; left out when decoding.

    Raises:
        ValueError: it has ids that the model lacks, or a chat template that does not compile.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, vocabulary: int, end_tokens: Sequence[int]
    ) -> None:
        largest = max(tokenizer.get_vocab().values(), default=-1)
        if largest >= vocabulary:
            raise ValueError(f"its tokenizer has id {largest}, the model has {vocabulary} ids")
        self._tokenizer = tokenizer
        # alone: the library's wrapper acts on fields whose nonsense values would crash it
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._vocabulary = vocabulary
        self._ends = frozenset(end_tokens)
        self._template = None
        if tokenizer.chat_template is not None:
            self._template = ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens_map)
        self._lock = Lock()  # the library's own refuses a call while another thread holds it

    @cached_property
    def drawable(self) -> NDArray[np.bool_]:
        """bool [V]: ids with a tokenizer entry, without padding."""
        mask = np.zeros(self._vocabulary, bool)
        mask[list(self._tokenizer.get_vocab().values())] = True
        padding = self._tokenizer.pad_token_id
        if padding is not None and padding not in self._ends:
            mask[padding] = False
        return mask

    def encode(self, prompt: str) -> list[int]:
        """Token ids of a prompt, at least one. Applies the chat template if the checkpoint has one.
        A text that the tokenizer refuses becomes the id 0."""
        try:
            return self.encode_strictly(prompt)
        except ValueError:
            return [0]

    def encode_strictly(self, prompt: str) -> list[int]:
        """The same as `encode`, but with an error for an owner at a prompt that nobody can read.

        Raises:
            ValueError: the tokenizer refuses the text.
        """
        text = prompt if self._template is None else self._template.render(prompt)
        try:
            with self._lock:
                return list(self._backend.encode(text, add_special_tokens=False).ids) or [0]
        except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
            raise ValueError(f"the tokenizer cannot write {text[:200]!r}: {error}") from None

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of a completion without its end token."""
        visible = [token for token in tokens if token not in self._ends]
        with self._lock:
            return str(self._backend.decode(visible, skip_special_tokens=False))


def open_tokenizer(folder: Path, manifest: Manifest, vocabulary: int) -> FolderTokenizer:
    """The tokenizer of a checkpoint's folder, with its chat template checked against the manifest.

    Args:
        vocabulary: V, rows of the model's output matrix.

    Raises:
        CheckpointError: the template differs. UnusableCheckpointError: nobody can use it.
    """
    tokenizer = load_tokenizer(folder)
    if digest_chat_template(tokenizer) != manifest.chat_template:
        raise CheckpointError(
            f"the chat template in {folder} is not its manifest's: fetch it again"
        )
    try:
        return FolderTokenizer(tokenizer, vocabulary, manifest.end_tokens)
    except ValueError as error:
        raise UnusableCheckpointError(f"{folder} is of no use: {error}") from None


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer exactly as the two hashed files define it.

    `AutoTokenizer` would pick a class by the model's type, and that class rebuilds the file in its
    own way: for Qwen2 it drops white space that another tokenizer in the folder keeps.

    Raises:
        UnusableCheckpointError: the files are not a tokenizer.
    """
    with copy_of(folder, TOKENIZER_FILES) as alone:
        try:
            return PreTrainedTokenizerFast.from_pretrained(alone, local_files_only=True)
        except Exception as error:  # the tokenizers library raises nothing narrower
            detail = f"{folder} holds no tokenizer that loads: {error}"
            raise UnusableCheckpointError(detail) from error
