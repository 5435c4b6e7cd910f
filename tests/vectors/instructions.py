"""Vectors of `instructions:SHA256`: rows that are asked, replies by kind, problems and scores."""

import json
from dataclasses import asdict
from typing import Any

from file_rows import describe_damaged, open_lines
from instruction_replies import REPLIES
from subjects import digest

from assay.environments.base import Problem
from assay.environments.instructions.instruction_file import (
    INSTRUCTIONS_MAX,
    KINDS,
    REPLY_BYTES,
    InstructionFile,
    InstructionRow,
    read_instruction_row,
)
from assay.environments.instructions.texts import count_word, fold, split_sentences, split_words
from assay.protocol.prf import Stream

Json = Any

_COMMA = "punctuation:no_comma"


def _row(prompt: Json, names: Json, arguments: Json, **more: Json) -> Json:
    return {"prompt": prompt, "instruction_id_list": names, "kwargs": arguments} | more


def _one(number: int, name: str, arguments: Json) -> Json:
    return _row(f"Prompt {number}", [name], [arguments])


_WORDS, _LETTERS = "length_constraints:number_words", "keywords:letter_frequency"
_LETTER = {"letter": " \U0001f600", "let_frequency": 0, "let_relation": "less than"}
_THREE = _row("Three words.", [_COMMA, _WORDS], [None, {"num_words": 3.0, "relation": "at least"}])
_NTH = {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "a"}
_CHAT = [
    {"role": "system", "content": "Be brief."},
    {"from": "human", "value": "Who are you?"},
    {"role": "assistant", "content": [{"text": "A "}, {"text": "fox."}]},
    {"role": "user", "content": "Say more."},
    {"role": "assistant", "content": "No."},
]
#: Rows of a file that are asked.
_ASKED: tuple[Json, ...] = (
    _row(" Write\tit.\r\n", [_COMMA], [{}], key=1),
    _THREE,
    _row(
        "Other arguments count as little as null.",
        [_COMMA, _WORDS, "startend:quotation"],
        [{"num_words": None, "N": 1}, {"num_words": 3, "relation": "less than", "N": None}, {}],
    ),
    _row(_CHAT, [_COMMA], [{}]),
    _row(json.dumps(_CHAT[3:]), json.dumps([_COMMA]), json.dumps([{"a": [1]}])),
    _row("All at once.", [_COMMA] * INSTRUCTIONS_MAX, [{}] * INSTRUCTIONS_MAX),
    _row("Five.", ["words:vowel", "words:repeats"] * 2 + [_COMMA], [{"small_n": 2}] * 5),
    _row("Six\u00a0\u3000of them.", [_COMMA] * 6, [{}] * 6),
    _one(1, "keywords:existence", {"keywords": [" a\u00a0 ", "x" * 256] + ["y"] * 30}),
    _one(2, "keywords:existence", {"keywords": ["x" * 256, "\U0001f600" * 256, "z" * 256] * 1}),
    _one(3, "keywords:existence", {"keywords": ["x" * 256] * 4}),
    _one(4, "startend:end_checker", {"end_phrase": "\n" + "x" * 8_190 + " "}),
    _one(5, "keywords:frequency", {"keyword": "\ud800", "frequency": 1e6, "relation": "at least"}),
    _one(6, _LETTERS, _LETTER),
    _one(7, "length_constraints:nth_paragraph_first_word", _NTH),
    _one(8, "language:response_language", {"language": "pa"}),
    _one(9, "count:words_japanese", {"N": 1_000_000}),
    _one(10, "repeat:repeat_span", {"prompt_to_repeat": "a", "n_start": -0.0, "n_end": 0}),
    _row("p" * 8_192, [_COMMA], [{}]),
)
#: Rows that are not asked, and a part of the reason.
_SKIPPED: tuple[tuple[Json, str], ...] = (
    (_THREE, "asked already"),
    (_row("a\x0b", [_COMMA], [{}]), "control characters"),
    (_row("a\x85", [_COMMA], []), "control characters"),
    (_row([{"role": "user", "content": "\ud800"}], [_COMMA], [{}]), "control characters"),
    (_row("None", [], []), "no instruction"),
    (_row("Many", [_COMMA] * 17, [{}] * 17), "more than 16 instructions"),
    (_one(20, "words:start_verb", {}), "not checked: words:start_verb"),
    (_one(21, "Punctuation:no_comma", {}), "not checked: Punctuation:no_comma"),
    (_row("A number", [7], [{}]), "not checked: 7"),
    (_one(22, _COMMA, []), "its arguments are no object"),
    (_one(23, _COMMA, "{}"), "its arguments are no object"),
    (_one(24, _WORDS, None), "num_words is None"),
    (_one(25, _WORDS, {"num_words": None, "relation": "at least"}), "num_words is None"),
    (_one(26, _WORDS, {"num_words": 2.5, "relation": "at least"}), "num_words is 2.5"),
    (_one(27, _WORDS, {"num_words": True, "relation": "at least"}), "num_words is True"),
    (_one(28, _WORDS, {"num_words": "3", "relation": "at least"}), "num_words is 3"),
    (_one(29, _WORDS, {"num_words": -1, "relation": "at least"}), "num_words is -1"),
    (_one(30, _WORDS, {"num_words": 1_000_001, "relation": "at least"}), "num_words is 1000001"),
    (_one(31, _WORDS, {"num_words": 3, "relation": "more than"}), "relation is 'more than'"),
    (_one(32, _WORDS, {"num_words": 3, "relation": " at least"}), "relation is ' at least'"),
    (_one(33, _WORDS, {"num_words": 3, "relation": ["at least"]}), "relation is"),
    (_one(34, "length_constraints:nth_paragraph_first_word", _NTH | {"nth_paragraph": 0}), "is 0"),
    (_one(35, "sentence:keyword", {"word": "a", "N": 0}), "N is 0"),
    (_one(36, "language:response_language", {"language": "mr"}), "mr is not told apart"),
    (_one(37, "language:response_language", {"language": ["en"]}), "a value of another type"),
    (
        _one(
            38,
            "keywords:letter_frequency",
            {"letter": "ab", "let_frequency": 1, "let_relation": "at least"},
        ),
        "not one letter",
    ),
    (_one(39, "keywords:existence", {"keywords": []}), "not a list of 1 to 32"),
    (_one(40, "keywords:existence", {"keywords": ["a"] * 33}), "not a list of 1 to 32"),
    (_one(41, "keywords:existence", {"keywords": "a"}), "not a list of 1 to 32"),
    (_one(42, "keywords:existence", {"keywords": ["a", " \t"]}), "not a text of 1 to 8192"),
    (_one(43, "keywords:existence", {"keywords": ["x" * 257]}), "has 257 characters"),
    (_one(44, "keywords:existence", {"keywords": ["x" * 256] * 4 + ["y"]}), "more than 1024"),
    (_one(45, "startend:end_checker", {"end_phrase": "x" * 8_193}), "not a text of 1 to 8192"),
    (_one(46, "startend:end_checker", {"end_phrase": "x" + " " * 8_192}), "not a text of 1"),
    (_one(47, "format:list", {"sep": "\n"}), "not a text of 1 to 8192"),
    (_row("One of two", [_COMMA, "format:emoji"], [{}, {}]), "not checked: format:emoji"),
)
#: What is wrong with a file of these rows, and a part of what is said.
_DAMAGED: tuple[tuple[str, list[Json], str], ...] = (
    ("one list is longer", [_row("a", [_COMMA], [])], "1 instructions and 0 kwargs"),
    ("no list", [_row("a", [_COMMA], {"0": {}})], "its kwargs is no list"),
    ("no list in the text", [_row("a", _COMMA, [{}])], "instruction_id_list is no list"),
    ("a list is missing", [{"prompt": "a", "kwargs": [{}]}], "instructions:SHA256 takes"),
    ("no prompt", [_row("", [_COMMA], [{}])], "its prompt has 0 characters"),
    ("a blank prompt", [_row(" \n", [_COMMA], [{}])], "its prompt has 2 characters"),
    ("a long prompt", [_row("p" * 8_193, [_COMMA], [{}])], "its prompt has 8193 characters"),
    ("a prompt of another type", [_row(7, [_COMMA], [{}])], "its prompt is 7"),
    ("no user's turn", [_row(_CHAT[:1], [_COMMA], [{}])], "its prompt is"),
    ("other instructions", [_one(1, _COMMA, {}), _one(1, "words:vowel", {})], "asks what row 1"),
    (
        "another order of instructions",
        [_row("a", pair, [{}, {}]) for pair in ([_COMMA, "words:vowel"], ["words:vowel", _COMMA])],
        "asks what row 1",
    ),
    (
        "another spelling of a number",
        [_one(1, "count:numbers", {"N": 3}), _one(1, "count:numbers", {"N": 3.0})],
        "asks what row 1",
    ),
    ("none that is asked", [_one(1, "format:emoji", {})], "none of its 1 problems can be asked"),
)
#: Replies to the row with three instructions, and how many of them they meet: none is read (None).
_REPLIES: tuple[tuple[str, str, int | None], ...] = (
    ("all", '"a b"', 3),
    ("all, behind a thought", 'a, b c d</think>\n"a b" \r\n', 3),
    ("behind the last of two", '<think>a</think>, b c d</think>""', 3),
    ("two", "a b", 2),
    ("one", "a b c", 1),
    ("nothing but too many", "a, b c d", 0),
    ("a thought alone", '"a b"</think> \t', None),
    ("another mark", '"a"</THINK>', 2),
    ("no text", "", None),
    ("blanks", " \t\r\n", None),
    ("a no-break space", "\u00a0", 2),
    ("half a character", "\ud800", 2),
)
#: Parts of long replies, each with how often it occurs, and whether they are read.
_SIZES: tuple[tuple[list[tuple[str, int]], bool], ...] = (
    ([("a", REPLY_BYTES)], True),
    ([("a", REPLY_BYTES + 1)], False),
    ([(" ", 9), ("a", REPLY_BYTES), ("\n", 9)], True),
    ([("b", REPLY_BYTES), ("</think>", 1), ("a", 1)], True),
    ([("\u00e9", REPLY_BYTES // 2)], True),
    ([("\u00e9", REPLY_BYTES // 2), ("a", 1)], False),
    ([("\U0001f600", REPLY_BYTES // 4)], True),
    ([("\ud800", REPLY_BYTES // 3), ("aa", 1)], True),
    ([("\ud800", REPLY_BYTES // 3), ("aaa", 1)], False),
    ([("</think>", 1), (" ", REPLY_BYTES)], False),
)
_SENTENCES = (
    "Mr. J. Fox paid $3.50, e.g. to U.S. hens... Why?! (So.)\n1. One\n2. Two",
    "Is it I. It is.\n\nA list\n \nended\u3002\u6b21\u3002",
    "\u201cSo.\u201d he said.\u00a0Yes.\tNo!\u2026 ?\n\n?\n\n\n\nA\n\r\nB\r\n\r\nC",
    "1234567890123456. 12345678901234567. (Dr. A) 'no. 7' vol.II. U.K.. I.e. it",
    "\u4ed6\u8bf4\uff1a\u300c\u662f\u3002\u300d\uff01\uff1f'a' b.\u3002.c \uff01.d",
    "",
)
_WORDS_OF = (
    "don't co-operate: na\u00efve \u6570 \u00e9_1 a\u00d7b\u00f7c \u0378\u1fff\u2000\u2bff\u2c00",
    "\u2dff\u2e00 \u303f\u3040 \ufdff\ufe00 \uff0f\uff10\uff19\uff1a\uff20\uff21",
    "\uff3a\uff3b\uff40\uff41\uff5a\uff5b \uff65\uff66\uffdc\uffdd \U000103ff\U00010400",
    "\U0001efff\U0001f000 \U0001ffff\U00020000 \U0003ffff\U00040000",
    "\u00a9\u00aa\u00ab\u00b4\u00b5\u00b6\u00b9\u00ba\u00bb\u00bf\u00c0",
)
_ALONE = (
    *(("The hen, then a HEN", "hen"), ("a a a a", "a a"), ("aa aa aa", "a a"), ("a-b-a-b", "a-b")),
    *(("\U0001f600a\U00010400a", "a"), ("\U0001f600a.\U00010400a.", "a."), ("a.a.a.", "a.")),
    *((".x..x.", "."), ("\u00c9t\u00e9 \u00e9t\u00c9.", "\u00c9T\u00c9"), ("a  b a b", "a b")),
)
#: What replies are drawn from, beside those by kind.
_FRAGMENTS = (
    *(" ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "\x0b", "\x85", "\u200b"),
    *(".", "!", "?", "\u2026", "?!", "\u3002", "\uff01", "\u300d", "\u201d", "\u2019", '"', "'"),
    *("(", ")", "[", "]", "{", "}", "<<", ">>", "*", "**", "***", "-", "_", "```", ",", ":", ";"),
    *("#", "/", "1.", "7", "14", "fox", "Fox", "FOX", "I", "it", "a", "Z", "and", "but", "the"),
    *("Mr.", "e.g.", "U.S.", "\u00e9", "\u00c9", "\u00df", "\u0130", "\u0131", "\u03a3", "\u03c2"),
    *("\u023a", "\u01c5", "\u1e00", "\u0530", "\u65e5\u672c", "\uac00", "\u05e9", "\u0e44"),
    *("\u03b1", "\U0001f600", "\U00010400", "\uff11", "\u0661", "null", '{"a": 1}', "[1]", "of"),
    *("Section 1", "P.S.", "Question", "A) x", "\n* x", "\n - y", "1,a,b,2,3\n", "\ufeff"),
)
_DRAWN = 240


def make_instructions() -> Json:
    skipped = [row for row, _ in _SKIPPED]
    rows = [*_ASKED[:2], *skipped[:9], *_ASKED[2:], *skipped[9:]]
    lines = [json.dumps(row) for row in rows]
    environment = open_lines("instructions", lines)
    assert isinstance(environment, InstructionFile)
    left_out = {number: why for why, numbers in environment.skipped.items() for number in numbers}
    assert [rows[number - 1] for number in sorted(left_out)] == skipped
    for number, (_, because) in zip(sorted(left_out), _SKIPPED, strict=True):
        assert because in left_out[number], (left_out[number], because)
    problems = []
    for levels in ([1], [2, 5], environment.levels):
        for i in range(4):
            seed = digest(f"problem {i}")
            problem = environment.make_problem(seed, levels)
            said = {"levels": levels, "seed": seed.hex(), "level": problem.level}
            context = [[message.role, message.content] for message in problem.context]
            problems.append(said | {"prompt": problem.prompt, "context": context})
    seed = digest("scored")
    problem = environment.make_problem(seed, [3])
    return {
        "lines": lines,
        "name": environment.name,
        "digest": environment.digest.hex(),
        "levels": environment.levels,
        "skipped": [{"row": number, "because": left_out[number]} for number in sorted(left_out)],
        "damaged": [
            describe_damaged("instructions", about, [json.dumps(row) for row in rows], because)
            for about, rows, because in _DAMAGED
        ],
        "problems": problems,
        "scored": {
            "seed": seed.hex(),
            "levels": [3],
            "prompt": problem.prompt,
            "completions": [_score(environment, problem, *case) for case in _REPLIES],
            "sizes": [{"parts": parts, "is_read": _is_read(parts, read)} for parts, read in _SIZES],
        },
        "kinds": [_reply(name, *case) for name, cases in REPLIES.items() for case in cases],
        "words": [[text, split_words(text)] for text in _WORDS_OF],
        "sentences": [[text, list(split_sentences(text))] for text in _SENTENCES],
        "alone": [[text, phrase, count_word(fold(text), fold(phrase))] for text, phrase in _ALONE],
        "drawn": {"kinds": list(KINDS), "replies": _draw_replies()},
    }


def _score(
    environment: InstructionFile, problem: Problem, about: str, text: str, met: int | None
) -> Json:
    assert isinstance(problem.answer, InstructionRow)
    assert problem.answer.count_met(text) == met, about
    return {"about": about, "completion": text} | asdict(environment.score(problem, text))


def _is_read(parts: list[tuple[str, int]], is_read: bool) -> bool:
    text = "".join(part * count for part, count in parts)
    assert (_bind(_COMMA, {}).count_met(text) is not None) == is_read
    return is_read


def _bind(name: str, arguments: Json) -> InstructionRow:
    row = read_instruction_row(json.dumps(_row("a", [name], [arguments])).encode())
    assert row.fault is None, row.fault
    return row


def _reply(name: str, arguments: Json, met: list[str], missed: list[str]) -> Json:
    row = _bind(name, arguments)
    for number, texts in ((1, met), (0, missed)):
        for text in texts:
            assert row.count_met(text) == number, (name, arguments, text)
    return {"kind": name, "arguments": arguments, "met": met, "missed": missed}


def _draw_replies() -> list[list[str]]:
    """Replies of other kinds, changed at some places, and of each of `KINDS` 1 if it is met under
    the first arguments above."""
    rows = [_bind(name, REPLIES[name][0][0]) for name in KINDS]
    known = [cases[0][1] for cases in REPLIES.values()]
    stream, drawn = Stream(digest("replies")), []
    while len(drawn) < _DRAWN:
        text = stream.choose(stream.choose(known))
        for _ in range(stream.draw_between(1, 2)):
            place = stream.draw_between(0, len(text))
            end = place + stream.choose([0, 0, 0, 1, 2])
            text = text[:place] + stream.choose(_FRAGMENTS) + text[end:]
        met = [row.count_met(text) for row in rows]
        if len(text) < 200 and text.isascii() == bool(len(drawn) % 2) and None not in met:
            drawn.append([text, "".join(map(str, met))])
    return drawn
