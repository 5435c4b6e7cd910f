"""A folder's tokenizer: prompts to token ids, and completions back to text.

Of the model it knows only the vocabulary's size.

Specification, section 3.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from assay.environments.base import Answer, Arguments, Conversation, Frame, Manner, Problem
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
from assay.inference.gate.thrown import LibraryError, catch_thrown
from assay.inference.gate.tokenizer_file import find_size_fault, find_tokenizer_fault
from assay.inference.gate.tokenizer_settings import find_added_fault, read_settings
from assay.inference.tokenizing.chat_template import PROBE, ChatTemplate
from assay.inference.tokenizing.replies import cut_reply, is_mark, make_defuser
from assay.protocol.manifest import Manifest

_CORE, _SETTINGS = TOKENIZER_FILES
_BOTH = f"{_CORE} with {_SETTINGS}"
#: What an owner does where a template fails for the messages of a part.
TEMPLATE_REMEDY = "change the part's words under [environment.prompts], or set its plain=1"


class FolderTokenizer:
    """The judge's `Tokenizer` over a Hugging Face one. Safe to share between threads.

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
        self._lock = Lock()  # the library's own refuses a call while another thread holds it
        # alone: the library's wrapper acts on fields whose nonsense values would crash it
        self._backend = tokenizer.backend_tokenizer
        with catch_thrown():
            self._backend.no_truncation()
            self._backend.no_padding()
            entries = self._backend.get_vocab(with_added_tokens=True)
            padding = tokenizer.special_tokens_map.get("pad_token")
        ids = np.fromiter(entries.values(), np.int64, len(entries))
        largest = ids.max(initial=-1)
        if largest >= vocabulary:
            raise ValueError(f"{_BOTH} has id {largest}, the model has {vocabulary} ids")
        self._ends = frozenset(end_tokens)
        names = {number: name for name, number in entries.items()}
        self._end_texts = tuple(names[end] for end in end_tokens if end in names)
        self._closer = end_tokens[0] if end_tokens else None
        #: bool [V]: ids with a tokenizer entry, without padding.
        self.drawable: NDArray[np.bool_] = np.zeros(vocabulary, bool)
        self.drawable[ids] = True
        if np.count_nonzero(self.drawable) < len(ids):
            raise ValueError(f"two entries of {_BOTH} have one id")
        if padding in entries and entries[padding] not in self._ends:
            self.drawable[entries[padding]] = False
        with catch_thrown():
            special = tokenizer.special_tokens_map
            added = self._backend.get_added_tokens_decoder()
        unknown = special.get("unk_token")
        texts = {number: token.content for number, token in added.items()}
        marks = {number: text for number, text in texts.items() if is_mark(text, unknown)}
        self._marks = frozenset(marks)
        self._defuse = make_defuser(marks.values())
        #: The id with which prompts begin that ask for it; None: the tokenizer has no bos_token.
        self.bos: int | None = entries.get(special.get("bos_token", ""))
        #: Whether the tokenizer itself puts it before every text, as in training.
        self.adds_bos = self.bos is not None and self._begins_with_bos()
        self._template = None
        if tokenizer.chat_template:  # an empty one is none
            self._template = ChatTemplate(tokenizer.chat_template, special)

    def encode(self, asked: Conversation) -> list[int]:
        """Token ids of a prompt, at least one. Applies the chat template if the checkpoint has one
        and it is wanted. A prompt without messages, or that the template or the tokenizer refuses,
        becomes the id 0."""
        try:
            return self.encode_strictly(asked)
        except ValueError:
            return [0]

    def encode_strictly(self, asked: Conversation) -> list[int]:
        """The same as `encode`, but with an error for an owner at a prompt that nobody can read.

        Raises:
            ValueError: the template or the tokenizer refuses the text.
        """
        if not asked.messages:
            return [0]
        ids = self.encode_text(self.write(asked))
        if asked.bos and self.bos is not None and ids[:1] != [self.bos]:
            ids.insert(0, self.bos)
        return ids or [0]

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

    @property
    def closer(self) -> str:
        """The text of the first end token, which closes each turn before a reply; no text if there
        is none."""
        return "" if self._closer is None else self.name_token(self._closer)

    @property
    def end_texts(self) -> tuple[str, ...]:
        """The texts of the end tokens that have one, in the manifest's order."""
        return self._end_texts

    def find_closing(self) -> int | None:
        """The id with which the chat template closes an answer; None: it has none of its own."""
        if self._template is None:
            return None
        with self._lock, catch_thrown():
            added = self._backend.get_added_tokens_decoder()
        ids = {token.content: number for number, token in added.items()}
        closing = self._template.find_closing(ids)
        return None if closing is None else ids[closing]

    def name_token(self, number: int) -> str:
        """The text of an id; no text for one without an entry."""
        with self._lock, catch_thrown():
            return str(self._backend.id_to_token(number) or "")

    def find_template_fault(self, manners: Mapping[str, Manner]) -> str | None:
        """Why the chat template fails as parts of an environment put their problems, and what to
        do; None: it does not."""
        for part, manner in manners.items():
            try:
                self.write(Problem(PROBE, 0, Answer(), manner=manner).conversation)
            except ValueError as error:
                return f"{part}: {error}: {TEMPLATE_REMEDY}"
        return None

    def _begins_with_bos(self) -> bool:
        try:
            with self._lock, catch_thrown():
                ids = list(self._backend.encode("1", add_special_tokens=True).ids)
        except LibraryError:
            return False
        return ids[:1] == [self.bos]

    def encode_text(self, text: str) -> list[int]:
        """Token ids of a text as it is. Raises a ValueError if the tokenizer refuses it."""
        try:
            with self._lock, catch_thrown():
                return list(self._backend.encode(text, add_special_tokens=False).ids)
        except LibraryError as error:
            raise ValueError(f"the tokenizer cannot write {text[:200]!r}: {error}") from None

    def encode_reply(self, content: str, frame: Frame, most_bytes: int) -> list[int] | None:
        """See `assay.verification.Tokenizer`. A content that still has a mark is refused: some
        tokenizers make one of other characters, such as full-width ones."""
        said = self._defuse(cut_reply(content, most_bytes))
        try:
            ids, around = (self._encode_framed(text, frame) for text in (said, ""))
        except ValueError:
            return None
        return ids if self._count_marks(ids) == self._count_marks(around) else None

    def _encode_framed(self, said: str, frame: Frame) -> list[int]:
        """Ids of a text in a frame. Closer and reply are encoded together, because some tokenizers
        write the start of a text in another way. Raises a ValueError if the tokenizer refuses."""
        said = json.dumps(said, ensure_ascii=False) if frame.as_json else said
        said = f"{frame.before}{said}{frame.after}"
        if self._closer is not None:
            first, *rest = self.encode_text(self.name_token(self._closer) + said) or [-1]
            if first == self._closer:
                return rest
        return self.encode_text(said)

    def _count_marks(self, ids: Sequence[int]) -> int:
        return sum(number in self._marks for number in ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of a completion without its end tokens, as ids or as the text that others spell; no
        text if the library refuses the ids."""
        visible = [token for token in tokens if token not in self._ends]
        try:
            with self._lock, catch_thrown():
                text = str(self._backend.decode(visible, skip_special_tokens=False))
        except LibraryError:
            return ""
        return self.strip(text)

    def strip(self, text: str) -> str:
        """A completion's text without the end tokens that it spells at its end."""
        return strip_ends(text, self._end_texts)


def strip_ends(text: str, ends: Sequence[str]) -> str:
    """A text without the texts of end tokens at its end, with which a model may spell them."""
    rest = len(text)
    while end := next((one for one in ends if one and text.endswith(one, 0, rest)), ""):
        rest -= len(end)
    return text[:rest]


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
