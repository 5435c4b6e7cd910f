"""The judge's `Tokenizer` over one of the library `tokenizers`.

Nothing is loaded here: whoever has the library hands its tokenizer in. Of the model it knows only
the vocabulary's size. Specification, section 3.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.environments.base import Conversation, Frame
from assay.sandbox.thrown import LibraryError, catch_thrown
from assay.verification.replies import cut_reply, is_mark, make_defuser

_BOTH = "tokenizer.json with tokenizer_config.json"


class TextTokenizer:
    """A tokenizer without a chat template. Safe to share between threads.

    Args:
        backend: `tokenizers.Tokenizer`, with the special and added tokens of both files.
        special: name of a special token in tokenizer_config.json, such as `bos_token` → its text.
        vocabulary: V, rows of the model's output matrix.
        end_tokens: of the manifest; left out when decoding.
        lock: of the backend, where others use it, too.

    Raises:
        ValueError: it has ids that the model lacks, or an id twice.
    """

    def __init__(
        self,
        backend: Any,
        special: Mapping[str, str],
        vocabulary: int,
        end_tokens: Sequence[int],
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        # the library's own refuses a call while another thread holds it
        self._lock = lock or Lock()
        self._backend = backend
        with self._lock, catch_thrown():
            self._backend.no_truncation()
            self._backend.no_padding()
            entries = self._backend.get_vocab(with_added_tokens=True)
            added = self._backend.get_added_tokens_decoder()
        padding = special.get("pad_token")
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
        unknown = special.get("unk_token")
        texts = {number: token.content for number, token in added.items()}
        marks = {number: text for number, text in texts.items() if is_mark(text, unknown)}
        self._marks = frozenset(marks)
        self._defuse = make_defuser(marks.values())
        #: The id with which prompts begin that ask for it; None: the tokenizer has no bos_token.
        self.bos: int | None = entries.get(special.get("bos_token", ""))
        #: Whether the tokenizer itself puts it before every text, as in training.
        self.adds_bos = self.bos is not None and self._begins_with_bos()

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
        """The text of a prompt. Raises a ValueError if it cannot be written."""
        return asked.text

    @property
    def closer(self) -> str:
        """The text of the first end token, which closes each turn before a reply; no text if there
        is none."""
        return "" if self._closer is None else self.name_token(self._closer)

    @property
    def end_texts(self) -> tuple[str, ...]:
        """The texts of the end tokens that have one, in the manifest's order."""
        return self._end_texts

    def name_token(self, number: int) -> str:
        """The text of an id; no text for one without an entry."""
        with self._lock, catch_thrown():
            return str(self._backend.id_to_token(number) or "")

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
