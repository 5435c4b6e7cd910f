"""The 25 kinds of instructions of IFEval (Zhou et al., "Instruction-following evaluation for large
language models", 2023), from its published description.

Where IFEval asks a library for words, sentences or the language, the rules of `texts` take its
place: the counts are exact, and may differ from that library's by some.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from assay.environments.base import BLANKS
from assay.environments.instructions.kinds import (
    COUNT,
    LETTER,
    PLACE,
    RELATION,
    SOUGHT,
    SOUGHTS,
    TEXT,
    ArgumentError,
    Kind,
    compare,
)
from assay.environments.instructions.texts import (
    PUNCTUATION,
    SCRIPTS,
    count_word,
    fold,
    has_capitals,
    has_small_letters,
    is_mostly,
    join_stripped,
    split_pieces,
    split_sentences,
    split_words,
)
from assay.protocol.encoding import EncodingError, read_json

_ANSWERS = "My answer is yes.", "My answer is no.", "My answer is maybe."
_FENCES = "```json", "```Json", "```JSON", "```"
_HIGHLIGHTS = re.compile(r"\*([^\n*]*+)\*"), re.compile(r"\*\*([^\n*]*+)\*\*")


def has_keywords(text: str, keywords: Sequence[str]) -> bool:
    folded = fold(text)
    return all(fold(keyword) in folded for keyword in keywords)


def has_keyword_often(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return compare(fold(text).count(fold(keyword)), relation, frequency)


def lacks_words(text: str, forbidden_words: Sequence[str]) -> bool:
    folded = fold(text)
    return not any(count_word(folded, fold(word)) for word in forbidden_words)


def has_letter_often(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return compare(fold(text).count(fold(letter)), let_relation, let_frequency)


def is_in_language(text: str, language: str) -> bool:
    return is_mostly(text, language)


def has_sentences(text: str, num_sentences: int, relation: str) -> bool:
    return compare(len(split_sentences(text)), relation, num_sentences)


def has_words(text: str, num_words: int, relation: str) -> bool:
    return compare(len(split_words(text)), relation, num_words)


def has_divided_paragraphs(text: str, num_paragraphs: int) -> bool:
    first, *middle = text.split("***")
    last = [middle.pop()] if middle else []
    if len(join_stripped(middle)) < len(middle):
        return False
    return len(middle) + len(join_stripped([first, *last])) == num_paragraphs


def starts_paragraph(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    paragraphs = join_stripped(text.split("\n\n"))
    if len(paragraphs) != num_paragraphs or nth_paragraph > num_paragraphs:
        return False
    word = split_pieces(paragraphs[nth_paragraph - 1])[0].lstrip("'\"")
    for mark in ".,?!'\"":
        word = word.partition(mark)[0]
    return fold(word) == fold(first_word)


def has_placeholders(text: str, num_placeholders: int) -> bool:
    parts = [part for line in text.split("\n") for part in line.split("]")[:-1]]
    return sum("[" in part for part in parts) >= num_placeholders


def has_postscript(text: str, postscript_marker: str) -> bool:
    folded, marker = fold(text), fold(postscript_marker)
    spellings = {"p.p.s": ("p.p.s", "p. p. s", "p.p. s", "p. p.s"), "p.s.": ("p.s.", "p. s.")}
    return any(spelling in folded for spelling in spellings.get(marker, (marker,)))


def count_bullets(text: str) -> int:
    """Lines that begin with `-`, or with a `*` that another character follows."""
    lines = [line.strip(BLANKS) for line in text.split("\n")]
    starred = sum(line[:1] == "*" and line[1:2] not in ("", "*") for line in lines)
    return starred + sum(line[:1] == "-" for line in lines)


def has_bullets(text: str, num_bullets: int) -> bool:
    return count_bullets(text) == num_bullets


def is_constrained(text: str) -> bool:
    return any(answer in text for answer in _ANSWERS)


def has_highlights(text: str, num_highlights: int) -> bool:
    """`*…*` and `**…**` with something between them on one line."""
    found = (match for pattern in _HIGHLIGHTS for match in pattern.findall(text))
    return sum(bool(inner.strip(BLANKS)) for inner in found) >= num_highlights


def has_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    rest = text.split(section_spliter)[1:]
    numbered = (part[1:2] if part[:1] in BLANKS else part[:1] for part in rest if part)
    return sum("0" <= digit <= "9" for digit in numbered if digit) >= num_sections


def is_json(text: str) -> bool:
    text = text.strip(BLANKS)
    fence = next((one for one in _FENCES if text.startswith(one)), "")
    try:
        read_json(text.removeprefix(fence).removesuffix("```").strip(BLANKS).encode())
    except (EncodingError, UnicodeEncodeError):
        return False
    return True


def has_title(text: str) -> bool:
    for line in text.split("\n"):
        first, last = line.find("<<"), line.rfind(">>")
        if 0 <= first < last and line[first:last].strip(f"<>{BLANKS}"):
            return True
    return False


def are_two_responses(text: str) -> bool:
    first, *more = (part.strip(BLANKS) for part in text.split("******"))
    last = more.pop() if more else ""
    given = [part for part in (first, *more, last) if part]
    return "" not in more and len(given) == 2 and given[0] != given[1]


def repeats_prompt(text: str, prompt_to_repeat: str) -> bool:
    return fold(text.strip(BLANKS)).startswith(fold(prompt_to_repeat))


def ends_so(text: str, end_phrase: str) -> bool:
    return fold(text.strip(BLANKS).strip('"')).endswith(fold(end_phrase))


def has_capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    """A word is what blanks separate, without punctuation around it: COVID-19 is one."""
    words = (piece.strip(PUNCTUATION) for piece in split_pieces(text))
    count = sum(has_capitals(word) and not has_small_letters(word) for word in words)
    return compare(count, capital_relation, capital_frequency)


def is_in_capitals(text: str) -> bool:
    return has_capitals(text) and not has_small_letters(text) and is_mostly(text, "en")


def is_in_small_letters(text: str) -> bool:
    return has_small_letters(text) and not has_capitals(text) and is_mostly(text, "en")


def has_no_comma(text: str) -> bool:
    return "," not in text


def is_quoted(text: str) -> bool:
    text = text.strip(BLANKS)
    return len(text) > 1 and text[0] == text[-1] == '"'


def _read_language(value: Any) -> str:
    if value != "en" and value not in SCRIPTS:
        raise ArgumentError(f"{str(value)[:20]} is not told apart by letters")
    return str(value)


KINDS: Mapping[str, Kind] = {
    "keywords:existence": Kind({"keywords": SOUGHTS}, has_keywords),
    "keywords:frequency": Kind(
        {"keyword": SOUGHT, "frequency": COUNT, "relation": RELATION}, has_keyword_often
    ),
    "keywords:forbidden_words": Kind({"forbidden_words": SOUGHTS}, lacks_words),
    "keywords:letter_frequency": Kind(
        {"letter": LETTER, "let_frequency": COUNT, "let_relation": RELATION}, has_letter_often
    ),
    "language:response_language": Kind({"language": _read_language}, is_in_language),
    "length_constraints:number_sentences": Kind(
        {"num_sentences": COUNT, "relation": RELATION}, has_sentences
    ),
    "length_constraints:number_words": Kind({"num_words": COUNT, "relation": RELATION}, has_words),
    "length_constraints:number_paragraphs": Kind({"num_paragraphs": COUNT}, has_divided_paragraphs),
    "length_constraints:nth_paragraph_first_word": Kind(
        {"num_paragraphs": COUNT, "nth_paragraph": PLACE, "first_word": SOUGHT}, starts_paragraph
    ),
    "detectable_content:number_placeholders": Kind({"num_placeholders": COUNT}, has_placeholders),
    "detectable_content:postscript": Kind({"postscript_marker": SOUGHT}, has_postscript),
    "detectable_format:number_bullet_lists": Kind({"num_bullets": COUNT}, has_bullets),
    "detectable_format:constrained_response": Kind({}, is_constrained),
    "detectable_format:number_highlighted_sections": Kind(
        {"num_highlights": COUNT}, has_highlights
    ),
    "detectable_format:multiple_sections": Kind(
        {"section_spliter": SOUGHT, "num_sections": COUNT}, has_sections
    ),
    "detectable_format:json_format": Kind({}, is_json),
    "detectable_format:title": Kind({}, has_title),
    "combination:two_responses": Kind({}, are_two_responses),
    "combination:repeat_prompt": Kind({"prompt_to_repeat": TEXT}, repeats_prompt),
    "startend:end_checker": Kind({"end_phrase": TEXT}, ends_so),
    "startend:quotation": Kind({}, is_quoted),
    "change_case:capital_word_frequency": Kind(
        {"capital_frequency": COUNT, "capital_relation": RELATION}, has_capital_words
    ),
    "change_case:english_capital": Kind({}, is_in_capitals),
    "change_case:english_lowercase": Kind({}, is_in_small_letters),
    "punctuation:no_comma": Kind({}, has_no_comma),
}
