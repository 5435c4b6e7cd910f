"""`instructions:SHA256`: every kind of instruction, rows that are not asked, and hostile text."""

import json
import re
from hashlib import sha256

import pytest

from assay.environments.base import BLANKS
from assay.environments.instructions import ifbench, ifeval
from assay.environments.instructions.instruction_file import (
    INSTRUCTIONS_MAX,
    REPLY_BYTES,
    read_instruction_row,
)
from assay.environments.instructions.texts import fold, has_capitals, split_sentences, split_words
from assay.environments.problem_file import ProblemFileError, add_problem_files
from assay.environments.problem_look import look_at_file
from assay.environments.registry import make_environment
from assay.protocol.parameters import MILLION
from tests.environments.conftest import make_seed
from tests.environments.test_hostile_text import count_work
from tests.tree import ROOT

VECTORS, PAGE = ROOT / "tests" / "vectors", ROOT / "docs" / "environments.md"

LEAST = "at least"
KINDS = ifeval.KINDS | ifbench.KINDS
#: Kind → arguments, replies that meet it, and replies that do not.
CASES = [
    (case["kind"], case["arguments"], case["met"], case["missed"])
    for case in json.loads((VECTORS / "instructions.json").read_bytes())["kinds"]
]
HOSTILE = ("a", ".", ". ", "\n", "\n \n", "*", "**", "[", "[]", "<<", '"', "'\"", "(", "([{", "***")
HOSTILE += ("_", "a. _")  # a closing mark that is a word, too


def write(tmp_path, *rows):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    add_problem_files([file])
    return file, f"instructions:{sha256(file.read_bytes()).hexdigest()}"


def make_row(names, arguments, prompt="Write."):
    return {"key": 1, "prompt": prompt, "instruction_id_list": names, "kwargs": arguments}


def test_all_kinds_have_replies():
    """Of each kind there is one that meets it, and one that does not."""
    assert (len(ifeval.KINDS), len(ifbench.KINDS)) == (25, 50)
    for replies in (2, 3):
        assert [*dict.fromkeys(case[0] for case in CASES if case[replies])] == [*KINDS]


def test_the_page_has_the_kinds_and_their_arguments():
    rows = re.findall(r"^\| `([a-z_]+:[a-z_-]+)` \| (.*?) \| .+ \|$", PAGE.read_text(), re.M)
    found = {name: re.findall(r"`(\w+)`", arguments) for name, arguments in rows}
    assert found == {name: [*kind.readers] for name, kind in KINDS.items()}


def test_small_letters_are_those_of_every_version_of_unicode():
    """The page has the digest of the pairs: another Python that knew others would say so here."""
    capitals = "".join(map(chr, range(0x590)))
    small = fold(capitals)
    pairs = [one + other for one, other in zip(capitals, small, strict=True) if one != other]
    assert (len(pairs), has_capitals(small)) == (468, False)
    assert sha256("".join(pairs).encode()).hexdigest() in PAGE.read_text()


@pytest.mark.parametrize(("name", "arguments", "met", "missed"), CASES)
def test_a_kind_tells_replies_apart(name, arguments, met, missed):
    check = KINDS[name].bind(arguments)
    assert [check(text.strip(BLANKS)) for text in (*met, *missed)] == (
        [True] * len(met) + [False] * len(missed)
    )


@pytest.mark.parametrize("name", KINDS)
def test_hostile_text_is_read_a_few_times(name):
    """Twice the text is at most about twice the work, whatever it is made of."""
    check = KINDS[name].bind(next(case[1] for case in CASES if case[0] == name))
    for filling in HOSTILE:
        once, twice = (count_work(check, filling * count) for count in (200, 400))
        assert twice <= 2 * once + 100, filling


def test_words_and_sentences():
    assert split_words("don't co-operate: naïve 数 é_1") == [
        *("don", "t", "co", "operate", "naïve", "数", "é_1")
    ]
    assert split_sentences(
        "Mr. J. Fox paid $3.50, e.g. to U.S. hens... Why?! (So.)\n1. One\n2. Two"
    ) == (*("Mr. J. Fox paid $3.50, e.g. to U.S. hens...", "Why?!", "(So.)", "1. One\n2. Two"),)
    assert split_sentences("Is it I. It is.\n\nA list\n \nended。次。") == (
        *("Is it I.", "It is.", "A list", "ended。", "次。"),
    )


def test_a_reply_meets_all_or_some(tmp_path):
    arguments = [{}, {"num_words": 3.0, "relation": LEAST, "language": None}]
    row = make_row(["punctuation:no_comma", "length_constraints:number_words"], arguments)
    file, name = write(tmp_path, row)
    look, _ = look_at_file(file)
    assert (look.asked, look.per_level, look.environment) == (1, {2: 1}, name)
    environment = make_environment(name, {})
    problem = environment.make_problem(make_seed(1), [2])
    assert problem.prompt == "Write.\n"
    for completion, share in (
        *(("one two three", 2), ("one, two three", 1), ("one two", 1), ("one, two", 0)),
        *(("<think>a, b</think>\none two three\n", 2), ("one two three</think>", 0)),
        *(("", 0), (" \n", 0), ("a b " * REPLY_BYTES, 0), ("\ud800 two three four", 2)),
    ):
        score = environment.score(problem, completion)
        whole = MILLION if share == 2 else 0
        assert (score.correctness, score.satisfaction) == (whole, MILLION * share // 2)


def test_rows_that_no_rule_can_check_are_named(tmp_path):
    good = make_row(["punctuation:no_comma"], [{}], "Good")
    rows = [
        make_row(["words:start_verb"], [{}]),
        make_row(["language:response_language"], [{"language": "mr"}]),
        make_row(["language:response_language"], [{"language": ["en"]}]),
        make_row(["startend:end_checker"], [{"end_phrase": None}]),
        make_row(["keywords:existence"], [{"keywords": ["x" * 257]}]),
        make_row(["length_constraints:number_words"], [{"num_words": 2.5, "relation": LEAST}]),
        make_row([], []),
        make_row(["punctuation:no_comma"] * (INSTRUCTIONS_MAX + 1), [{}] * (INSTRUCTIONS_MAX + 1)),
        good,
        good,
        make_row(["punctuation:no_comma"], [{}], "a\x0b"),
    ]
    file, name = write(tmp_path, *rows)
    look, _ = look_at_file(file)
    assert (look.asked, look.empty) == (1, [9])
    assert (len(look.left_out), look.left_out["control characters"]) == (10, [11])
    for said in (
        "not checked: words:start_verb",
        "language mr is not told",
        "language has a value of another type",
        "end_phrase is 'None'",
    ):
        assert any(said in reason for reason in look.left_out), said
    assert make_environment(name, {}).skipped == look.left_out
    with pytest.raises(
        ProblemFileError, match="none of its 1 problems can be asked: 1 not checked"
    ):
        make_environment(write(tmp_path, rows[0])[1], {})


def test_a_row_that_its_own_prompt_meets_is_named(tmp_path):
    names = ["keywords:existence", "punctuation:no_comma"]
    shown = make_row(names, [{"keywords": ["hen"]}, {}], "Name a hen.")
    asked = make_row(names, [{"keywords": ["fox"]}, {}], "Name its foe.")
    look, _ = look_at_file(write(tmp_path, shown, asked)[0])
    assert look.empty == [1]


def test_a_reply_is_split_into_sentences_once():
    """Sixteen instructions about its sentences are the work of about one."""
    rows = [
        make_row(["sentence:keyword"] * count, [{"word": "a", "N": 1}] * count)
        for count in (1, INSTRUCTIONS_MAX)
    ]
    one, many = (read_instruction_row(json.dumps(row).encode()) for row in rows)
    text = "1.\n" * 500
    works = []
    for row in (one, many):
        split_sentences.cache_clear()
        works.append(count_work(row.count_met, text))
    assert works[1] <= 2 * works[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kwargs": []}, "1 instructions and 0 kwargs"),
        ({"kwargs": 1}, "its kwargs is no list"),
        ({"prompt": ""}, "its prompt has 0 characters"),
    ],
)
def test_damaged_rows(change, said):
    row = make_row(["punctuation:no_comma"], [{}]) | change
    with pytest.raises(ValueError, match=said):
        read_instruction_row(json.dumps(row).encode())


def test_a_prompt_with_other_instructions_contradicts(tmp_path):
    rows = [make_row(["punctuation:no_comma"], [{}]), make_row(["startend:quotation"], [{}])]
    _, name = write(tmp_path, *rows)
    with pytest.raises(ProblemFileError, match="row 2: it asks what row 1 asks"):
        make_environment(name, {})
