"""Words, sentences and case, as the checks of instructions count them.

All rules are explicit tables of characters, so every version of Python counts the same. Each takes
time linear in the text.
"""

import re
import string
from collections.abc import Sequence
from functools import lru_cache

from assay.environments.base import BLANKS

PUNCTUATION = string.punctuation
#: Characters of words: letters, digits and `_` of ASCII, and of other scripts all but the blocks of
#: signs, punctuation and pictures.
_LETTERS = (
    r"0-9A-Za-z_\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u1fff\u2c00-\u2dff"
    r"\u3040-\ufdff\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uffdc"
    r"\U00010400-\U0001efff\U00020000-\U0003ffff"
)
_WORD, _LETTER = re.compile(f"[{_LETTERS}]+"), re.compile(f"[{_LETTERS}]")
_PIECE = re.compile(rf"[^{BLANKS}]+")
#: Capital → small letter below U+0590, where case pairs are settled, one character to one.
_SMALL = {
    code: small
    for code in range(0x590)
    if len(small := chr(code).lower()) == 1 and small != chr(code)
}
_CAPITALS = frozenset(map(chr, _SMALL))
_SMALL_LETTERS = frozenset(_SMALL.values()) | {"\u00df"}
#: Quotes and brackets that close, and marks of Markdown: they may follow the end of a sentence.
CLOSERS = "\"'\u2019\u201d)]*_"
#: The end of a sentence: its marks, and quotes and brackets that close, before a blank; the marks
#: of Chinese and Japanese; an empty line. A run of marks is read once, whatever follows it.
_END = re.compile(
    rf"(?<![.!?\u2026])[.!?\u2026]++[{re.escape(CLOSERS)}]*+(?=[{BLANKS}]|\Z)"
    rf"|[\u3002\uff01\uff1f]++[{re.escape(CLOSERS)}\u300d\u300f]*+"
    r"|\n[ \t\r]*+\n"
)
#: Before a point that ends no sentence: a shortened word, an initial, a number that begins a line.
_BEFORE = re.compile(rf"(?:\A|(?<=[{BLANKS}(\"']))([A-Za-z](?:[A-Za-z.]*[A-Za-z])?|[0-9]+)\Z")
_BEFORE_MAX = 16
#: A text of so many words and more is English if one in so many is a common English word.
_ENGLISH_FROM, _ENGLISH_SHARE = 20, 20
#: So many letters of so many are a language's own: names and terms may be in others.
_OWN, _OWN_OF = 3, 4
#: Languages that their script tells apart: the ranges of its letters.
SCRIPTS = {
    "bn": "\u0980-\u09ff",
    "el": "\u0370-\u03ff",
    "gu": "\u0a80-\u0aff",
    "he": "\u0590-\u05ff",
    "kn": "\u0c80-\u0cff",
    "ko": "\uac00-\ud7a3",
    "ml": "\u0d00-\u0d7f",
    "pa": "\u0a00-\u0a7f",
    "ta": "\u0b80-\u0bff",
    "te": "\u0c00-\u0c7f",
    "th": "\u0e00-\u0e7f",
}
_SCRIPT_LETTERS = {code: re.compile(f"[{ranges}]") for code, ranges in SCRIPTS.items()}
_LATIN = re.compile("[A-Za-z]")
_ANY_LETTER = re.compile(f"(?![0-9_])[{_LETTERS}]")


def fold(text: str) -> str:
    """The text in small letters."""
    return text.translate(_SMALL)


def has_capitals(text: str) -> bool:
    return not _CAPITALS.isdisjoint(text)


def has_small_letters(text: str) -> bool:
    return not _SMALL_LETTERS.isdisjoint(text)


def split_words(text: str) -> list[str]:
    """Longest runs of letters and digits: `don't` is two of them."""
    return _WORD.findall(text)


def split_pieces(text: str) -> list[str]:
    """What blanks separate."""
    return _PIECE.findall(text)


_SHORTENED = frozenset(
    split_pieces(
        "mr mrs ms dr prof sr jr st mt vs etc e.g i.e cf fig no vol inc ltd co corp dept approx "
        "jan feb mar apr jun jul aug sep sept oct nov dec a.m p.m u.s u.k ph.d"
    )
)
#: Common words of English that other languages hardly have.
_ENGLISH = frozenset(
    split_pieces(
        "the of and to is that it for was with are this not have be from by you at or which they "
        "his your as can will their there when what more if"
    )
)


def split_bare(text: str) -> list[str]:
    """What blanks separate, in small letters and without ASCII punctuation anywhere."""
    return split_pieces(fold(text).translate(dict.fromkeys(map(ord, PUNCTUATION))))


def split_stripped(text: str) -> list[str]:
    """What blanks separate, in small letters and without ASCII punctuation around it."""
    stripped = (piece.strip(PUNCTUATION) for piece in split_pieces(fold(text)))
    return [piece for piece in stripped if piece]


@lru_cache(maxsize=1)  # a row may ask for many things of the sentences of one reply
def split_sentences(text: str) -> tuple[str, ...]:
    """Sentences with a word in them, without blanks around them."""
    sentences, first = [], 0
    for end in _END.finditer(text):
        if end[0] == "." and _is_shortened(text, first, end.start()):
            continue
        sentences.append(text[first : end.end()])
        first = end.end()
    sentences.append(text[first:])
    return tuple(one.strip(BLANKS) for one in sentences if _WORD.search(one))


def _is_shortened(text: str, first: int, point: int) -> bool:
    """Whether a point at `point` ends a shortened word and no sentence."""
    found = _BEFORE.search(text[max(first, point - _BEFORE_MAX) : point])
    if found is None:
        return False
    before = fold(found[1])
    if before.isdigit():
        begin = point - len(before)
        return begin == 0 or text[begin - 1] == "\n"
    return before in _SHORTENED or (len(before) == 1 and found[1] != before and before != "i")


def count_word(text: str, word: str) -> int:
    """How often a text has a word or phrase, not within longer words. Both in small letters."""
    if _WORD.fullmatch(word):
        return split_words(text).count(word)
    count, place = 0, text.find(word)
    while place >= 0:
        end = place + len(word)
        joined = (place and _LETTER.match(text, place - 1)) or _LETTER.match(text, end)
        count += not joined
        place = text.find(word, place + 1 if joined else end)
    return count


def is_mostly(text: str, language: str) -> bool:
    """Whether a text is in a language, by its letters and, for English, its common words.

    Args:
        language: `en`, or one of `SCRIPTS`.
    """
    letters = len(_ANY_LETTER.findall(text))
    own = len((_SCRIPT_LETTERS.get(language) or _LATIN).findall(text))
    if not letters or _OWN_OF * own < _OWN * letters:
        return False
    words = split_words(fold(text))
    if language != "en" or len(words) < _ENGLISH_FROM:
        return True
    return _ENGLISH_SHARE * sum(word in _ENGLISH for word in words) >= len(words)


def join_stripped(lines: Sequence[str]) -> list[str]:
    """Lines that are not blank."""
    return [line for line in lines if line.strip(BLANKS)]
