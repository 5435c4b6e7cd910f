"""A folder's tokenizer: prompts to token ids, and completions back to text.

Of the model it knows only the vocabulary's size.

Specification, section 3.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from assay.environments.base import Answer, Arguments, Conversation, Manner, Problem
from assay.inference.folder import (
    TOKENIZER_FILES,
    UnusableCheckpointError,
    digest_chat_template,
    hold_alone,
    parse_document,
    read_document,
    read_small_file,
)
from assay.inference.gate.rules import UnfitError
from assay.inference.gate.tokenizer_file import find_size_fault, find_tokenizer_fault
from assay.inference.gate.tokenizer_settings import find_added_fault, read_settings
from assay.inference.tokenizing.chat_template import PROBE, ChatTemplate
from assay.protocol.manifest import Manifest
from assay.sandbox.thrown import LibraryError, catch_thrown
from assay.verification.text_tokenizer import TextTokenizer

_CORE, _SETTINGS = TOKENIZER_FILES
_BOTH = f"{_CORE} with {_SETTINGS}"
#: What an owner does where a template fails for the messages of a part.
TEMPLATE_REMEDY = "change the part's words under [environment.prompts], or set its plain=1"


class FolderTokenizer(TextTokenizer):
    """The judge's `Tokenizer` over a Hugging Face one, with its chat template.

    Args:
        tokenizer: a fast tokenizer.
        vocabulary: V, rows of the model's output matrix.
        end_tokens: of the manifest; left out when decoding.

    Raises:
        ValueError: it has ids that the model lacks or an id twice, or its chat template is refused.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, vocabulary: int, end_tokens: Sequence[int]
    ) -> None:
        with catch_thrown():
            special = tokenizer.special_tokens_map
        # alone: the library's wrapper acts on fields whose nonsense values would crash it
        super().__init__(tokenizer.backend_tokenizer, special, vocabulary, end_tokens)
        self._template = None
        if tokenizer.chat_template:  # an empty one is none
            self._template = ChatTemplate(tokenizer.chat_template, special)

    def write(self, asked: Conversation) -> str:
        """The text of a prompt. Raises a ValueError if the template refuses it."""
        if self._template is None or asked.plain:
            return asked.text
        return self._template.render(asked.messages, asked.arguments, asked.tools)

    def write_probe(
        self,
        messages: Sequence[Mapping[str, Any]],
        begins: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
        arguments: Arguments = (),
    ) -> str:
        """See `ChatTemplate.render_probe`. Raises a ValueError where there is no template, too."""
        if self._template is None:
            raise ValueError("there is no chat template")
        return self._template.render_probe(messages, begins, tools, arguments)

    @property
    def has_template(self) -> bool:
        """Whether there is a chat template."""
        return self._template is not None

    def find_closing(self) -> int | None:
        """The id with which the chat template closes an answer; None: it has none of its own."""
        if self._template is None:
            return None
        with self._lock, catch_thrown():
            added = self._backend.get_added_tokens_decoder()
        ids = {token.content: number for number, token in added.items()}
        closing = self._template.find_closing(ids)
        return None if closing is None else ids[closing]

    def find_template_fault(self, manners: Mapping[str, Manner]) -> str | None:
        """Why the chat template fails as parts of an environment put their problems, and what to
        do; None: it does not."""
        for part, manner in manners.items():
            try:
                self.write(Problem(PROBE, 0, Answer(), manner=manner).conversation)
            except ValueError as error:
                return f"{part}: {error}: {TEMPLATE_REMEDY}"
        return None


def open_tokenizer(folder: Path, manifest: Manifest, vocabulary: int) -> FolderTokenizer:
    """The tokenizer of a checkpoint's folder, with its chat template checked against the manifest.

    Args:
        vocabulary: V, rows of the model's output matrix.

    Raises:
        CheckpointError: a file is missing. UnusableCheckpointError: nobody can use it, or the
            manifest names another template than its files have.
    """
    tokenizer = load_tokenizer(folder, vocabulary)
    if digest_chat_template(tokenizer) != manifest.chat_template:
        raise UnusableCheckpointError(
            f"{folder}: the digest of the template in {_SETTINGS} is not chat_template"
        )
    return make_tokenizer(folder, tokenizer, vocabulary, manifest.end_tokens)


def make_tokenizer(
    folder: Path, tokenizer: PreTrainedTokenizerFast, vocabulary: int, end_tokens: Sequence[int]
) -> FolderTokenizer:
    """A `FolderTokenizer`. Raises an UnusableCheckpointError where it would raise a ValueError."""
    try:
        return FolderTokenizer(tokenizer, vocabulary, end_tokens)
    except ValueError as error:
        raise UnusableCheckpointError(f"{folder}: {error}") from None


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
    data = read_small_file(folder, _CORE)
    fault = find_size_fault(data)
    if fault is not None:
        raise UnusableCheckpointError(f"{folder}: {fault}")
    settings, core = read_document(folder, _SETTINGS), parse_document(folder / _CORE, data)
    try:
        with catch_thrown(UnfitError):  # a defect of the gate must not end every program
            kept = read_settings(settings, vocabulary)
            fault = find_tokenizer_fault(core, vocabulary) or find_added_fault(core, kept)
    except UnfitError as error:
        raise UnusableCheckpointError(f"{folder / _SETTINGS}: {error}") from None
    except LibraryError as error:
        raise UnusableCheckpointError(f"{folder}: {_BOTH} breaks the gate: {error}") from None
    if fault is not None:
        raise UnusableCheckpointError(f"{folder}: {fault}")
    with hold_alone({_CORE: data, _SETTINGS: json.dumps(kept).encode()}) as alone:
        try:
            with catch_thrown():
                return PreTrainedTokenizerFast.from_pretrained(alone, local_files_only=True)
        except LibraryError as error:
            detail = f"{folder}: {_BOTH} is no tokenizer that loads: {error}"
            raise UnusableCheckpointError(detail) from None
