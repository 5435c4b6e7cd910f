"""The text of a world's reply, before a tokenizer sees it. Specification, section 3.1."""

import re
from collections.abc import Callable, Iterable

from assay.environments.base import BLANKS

_SURROGATES = re.compile("[\ud800-\udfff]")
_BYTE = re.compile("<0x[0-9A-F]{2}>")
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


def is_mark(added: str, unknown: str | None) -> bool:
    """Whether the text of an added token may not stand in a reply. These may: one character or
    blanks alone, which some tokenizers add for indentation; a byte, as `<0x0A>`; the entry for
    characters that the tokenizer does not know."""
    is_plain = len(added) == 1 or added.strip(BLANKS) == "" or added == unknown
    return not is_plain and _BYTE.fullmatch(added) is None


def make_defuser(marks: Iterable[str]) -> Callable[[str], str]:
    """A function that takes marks apart: behind the first character of each comes a space. An echo
    of the model's own words, or a document, could otherwise close a reply and open a turn of the
    assistant.

    Args:
        marks: texts of added tokens, as `is_mark` has them.
    """
    texts = frozenset(marks)
    # no regular expression: a stranger's checkpoint may have a million characters of marks
    sizes, firsts = sorted({*map(len, texts)}), {text[:1] for text in texts}

    def defuse(text: str) -> str:
        return "".join(
            f"{one} "
            if one in firsts and any(text[at : at + size] in texts for size in sizes)
            else one
            for at, one in enumerate(text)
        )

    return defuse
