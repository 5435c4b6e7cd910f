"""The text of a world's reply, before a tokenizer sees it. Specification, section 3.1."""

import re
from collections.abc import Callable, Iterable

_SURROGATES = re.compile("[\ud800-\udfff]")
#: What follows the part of a reply that fits.
CUT = "\n[cut]"


def cut_reply(content: str, most_bytes: int) -> str:
    """A reply's content with U+FFFD for each lone surrogate. If it has more than `most_bytes` bytes
    in UTF-8, the characters that fit, and a mark."""
    text = _SURROGATES.sub("\ufffd", content)
    data = text.encode()
    if len(data) <= most_bytes:
        return text
    return data[:most_bytes].decode(errors="ignore") + CUT


def make_defuser(added: Iterable[str]) -> Callable[[str], str]:
    """A function that takes apart the texts of added tokens: behind the first character of each
    comes a space. An echo of the model's own words, or a document, could otherwise close a reply
    and open a turn of the assistant.

    Args:
        added: their texts. Those of one character or of white space alone stay: some tokenizers
            add them for indentation.
    """
    texts = sorted({text for text in added if len(text) > 1 and not text.isspace()})
    if not texts:
        return str
    # the places where one begins, whatever the one before it covers
    begins = re.compile(f"(?={'|'.join(map(re.escape, texts))})(.)", re.DOTALL)
    return lambda text: begins.sub(r"\1 ", text)
