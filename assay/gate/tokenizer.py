"""A checkpoint's tokenizer with its chat template: prompts to token ids, and completions back to
text.

Of the model it knows only the vocabulary's size.

Specification, section 3.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from assay.environments.base import Answer, Arguments, Conversation, Manner, Problem
from assay.gate.chat_template import PROBE, ChatTemplate
from assay.sandbox.thrown import LibraryError, catch_thrown
from assay.verification.text_tokenizer import TextTokenizer

#: What an owner does where a template fails for the messages of a part.
TEMPLATE_REMEDY = "change the part's words under [environment.prompts], or set its plain=1"


class FolderTokenizer(TextTokenizer):
    """The judge's `Tokenizer` over one of the library `tokenizers`, with its chat template.

    Args:
        backend: `tokenizers.Tokenizer`, with the special and added tokens of both files.
        special: name of a special token in tokenizer_config.json, one of `SPECIAL_NAMES` → its
            text.
        template: the chat template; None or empty: there is none.
        vocabulary: V, rows of the model's output matrix.
        end_tokens: of the manifest; left out when decoding.
        lock: see `TextTokenizer`.

    Raises:
        ValueError: it has ids that the model lacks or an id twice, or its chat template is refused.
    """

    def __init__(
        self,
        backend: Any,
        special: Mapping[str, str],
        template: str | None,
        vocabulary: int,
        end_tokens: Sequence[int],
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        super().__init__(backend, special, vocabulary, end_tokens, lock)
        self._template = ChatTemplate(template, special) if template else None

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

    def spell(self, tokens: Sequence[int]) -> str:
        """The text of ids with all special tokens, as a person looks at it; of ids that the library
        refuses none."""
        try:
            with self._lock, catch_thrown():
                return str(self._backend.decode(list(tokens), skip_special_tokens=False))
        except LibraryError:
            return ""

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
