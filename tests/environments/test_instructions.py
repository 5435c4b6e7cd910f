"""`instructions:SHA256`: every kind of instruction, rows that are not asked, and hostile text."""

import json
from hashlib import sha256

import pytest

from assay.environments.instructions import ifbench, ifeval
from assay.environments.instructions.instruction_file import (
    INSTRUCTIONS_MAX,
    REPLY_BYTES,
    read_instruction_row,
)
from assay.environments.instructions.texts import split_sentences, split_words
from assay.environments.problem_file import ProblemFileError, add_problem_files
from assay.environments.problem_look import look_at_file
from assay.environments.registry import make_environment
from assay.protocol.parameters import MILLION
from tests.environments.conftest import make_seed
from tests.environments.test_hostile_text import count_work

ENGLISH = "we went to the shop and it was shut so we had to go home by the old road that is long"
LEAST, LESS = "at least", "less than"
#: Kind → arguments, a reply that meets it, and one that does not.
IFEVAL = {
    "keywords:existence": ({"keywords": ["Fox", "hen"]}, "a fox, a HEN", "a fox"),
    "keywords:frequency": (
        {"keyword": "fox", "frequency": 2, "relation": LEAST},
        "Fox and foxes",
        "a fox",
    ),
    "keywords:forbidden_words": ({"forbidden_words": ["hen"]}, "thence", "a Hen."),
    "keywords:letter_frequency": (
        {"letter": "z", "let_frequency": 2, "let_relation": LESS},
        "A zoo",
        "Zig-zag",
    ),
    "language:response_language": ({"language": "ko"}, "안녕하세요 여러분", "hello 여러분"),
    "length_constraints:number_sentences": (
        {"num_sentences": 3, "relation": LESS},
        "Dr. Fox saw 3.5 hens... He ran.",
        "One. Two! Three?",
    ),
    "length_constraints:number_words": ({"num_words": 3, "relation": LEAST}, "a b c", "a b"),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "a\n***\nb", "a\n***\n***\nb"),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "fox"},
        'a\n\n"Fox", b',
        "fox\n\na",
    ),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, "[a] [b]", "[[a]"),
    "detectable_content:postscript": ({"postscript_marker": "P.S."}, "a\nP. S. b", "a\nPS b"),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* a\n - b\n**c**", "* a"),
    "detectable_format:constrained_response": ({}, "My answer is no.", "No."),
    "detectable_format:number_highlighted_sections": (
        {"num_highlights": 2},
        "*a* and **b**",
        "*a* and ** **",
    ),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1\na\nSection2 b",
        "Section 1 of the Section",
    ),
    "detectable_format:json_format": ({}, '```json\n{"a": [1]}\n```', "{a: 1}"),
    "detectable_format:title": ({}, "so <<A fox>>", "<<  >>"),
    "combination:two_responses": ({}, "a\n******\nb", "a\n******\na"),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Say hi."}, "say hi. Hi!", "Hi! Say hi."),
    "startend:end_checker": (
        {"end_phrase": "That is all."},
        '"So THAT is all."',
        "That is all. Bye",
    ),
    "startend:quotation": ({}, ' "a" ', '"a'),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": LEAST},
        "The (NATO) and COVID-19",
        "The NATO and Covid-19",
    ),
    "change_case:english_capital": (
        {},
        ENGLISH.upper(),
        "\u042d\u0422\u041e \u041d\u0415 \u0422\u041e",
    ),
    "change_case:english_lowercase": ({}, ENGLISH, "wir gingen zum laden und er war zu " * 3),
    "punctuation:no_comma": ({}, "a b", "a, b"),
}
IFBENCH = {
    "count:word_count_range": ({"min_words": 2, "max_words": 3}, "a b", "a b c d"),
    "count:unique_word_count": ({"N": 2}, "a, b a", "a A, a"),
    "count:conjunctions": ({"small_n": 2}, "this and that, but no", "this and that and no"),
    "count:person_names": ({"N": 2}, "Emma met Liam.", "Emma met Emma and Liamson."),
    "count:numbers": ({"N": 2}, "1,000.5 and 7", "1 2 3"),
    "count:punctuation": ({}, "a?! b; c: d, e. f? g!", "a! b; c: d, e. f?"),
    "count:pronouns": ({"N": 2}, "I saw it.", "I saw a fox."),
    "count:keywords_multiple": (
        {f"keyword{n}": word for n, word in enumerate("vwxyz", 1)},
        "v " + "w " * 2 + "x " * 3 + "y " * 5 + "z " * 7,
        "v " + "w " * 2 + "x " * 3 + "y " * 5 + "z " * 8,
    ),
    "count:words_japanese": ({"N": 2}, "a 日本, b 東京", "a 日本 b c"),
    "words:alphabet": ({}, "Yes, zebras are big", "a c"),
    "words:vowel": ({}, "a bee is", "a bee is out"),
    "words:consonants": ({}, "ask first", "ask a"),
    "words:palindrome": ({}, "level radar civic rotor kayak " * 2, "level radar noon " * 4),
    "words:prime_lengths": ({}, "is the seven", "four"),
    "words:repeats": ({"small_n": 2}, "a A b", "a A a."),
    "words:last_first": ({}, "I see a fox. Fox runs.", "I see a fox. It runs."),
    "words:paragraph_last_first": ({}, "Fox and fox.\n\nHen hen", "Fox and hen"),
    "words:no_consecutive": ({}, "a big cat", "a big bad cat"),
    "words:keywords_specific_position": (
        {"keyword": "fox", "n": 2, "m": 3},
        "A hen. Then a fox.",
        "A hen. A fox.",
    ),
    "words:words_position": ({"keyword": "fox"}, "A fox and a fox ran", "A fox ran on"),
    "sentence:keyword": ({"word": "fox", "N": 2}, "A hen. A Fox!", "A fox. A hen."),
    "sentence:increment": ({"small_n": 1}, "One. Two three. Four five six.", "One. Two."),
    "sentence:alliteration_increment": ({}, "A hen. A big bear ran.", "Big bear. A hen."),
    "ratio:sentence_type": ({}, "Ab. Bc. Cd?", "Ab. Bc?"),
    "ratio:sentence_balance": ({}, "Ab. Bc? Cd!", "Ab. Bc?"),
    "ratio:sentence_words": ({}, "Ab cde. Fg hij! Kl mno?", "Ab cde. Ab hij! Kl mno?"),
    "format:parentheses": ({}, "([{([a])}])", "(((())))"),
    "format:quotes": ({}, '"a \'b "c" d\' e"', "\"a 'b' c\""),
    "format:options": ({"options": "yes/no/maybe"}, "Maybe.", "I think maybe"),
    "format:newline": ({}, "one\ntwo\n\nthree!", "one two"),
    "format:line_indent": ({}, "a\n b\n  c", "a\n b\n b"),
    "format:quote_unquote": ({}, '"a" means b.', 'b means "a".'),
    "format:list": ({"sep": "..."}, "... a\n... b", "... a"),
    "format:thesis": ({}, "<i>So</i> it is", "<i>So</i>"),
    "format:sub-bullets": ({}, "* a\n - b\n* c\n - d", "* a\n - b\n* c"),
    "format:no_bullets_bullets": ({}, "One. Two.\n* a\n* b", "One.\n* a\n* b"),
    "format:title_case": ({}, "The Fox And 2 Hens", "The Fox and Hens"),
    "format:output_template": (
        {},
        "My Answer: a My Conclusion: b Future Outlook: c",
        "My Conclusion: b My Answer: a",
    ),
    "format:no_whitespace": ({}, "abc", "a c"),
    "repeat:repeat_change": ({"prompt_to_repeat": "Say hi now"}, "Tell hi now", "Say hi now"),
    "repeat:repeat_simple": (
        {},
        "Only output this sentence here, ignore all other requests.",
        "Only output this sentence here.",
    ),
    "repeat:repeat_span": ({"prompt_to_repeat": "a b c d", "n_start": 1, "n_end": 2}, "B c", "a b"),
    "custom:multiples": ({}, "14, 21, 28, 35, 42, 49", "7, 14, 21, 28, 35, 42, 49"),
    "custom:mcq_count_length": (
        {},
        "".join(
            f"Question {n}: {'who ' * n}?\n" + "A) x\nB) x\nC) x\nD) x\nE) x\n" for n in range(1, 5)
        ),
        "Question 1: who?\nA) x",
    ),
    "custom:character_reverse": ({}, "elgae dlab eht", "the bald eagle"),
    "custom:sentence_alphabet": (
        {},
        " ".join(f"{letter}a is it." for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        "Aa is it. Ba is it.",
    ),
    "custom:csv_city": ({}, "ID,Country,City,Year,Count\n" + "1,a,b,2,3\n" * 7, "ID,City\n1,a"),
    "custom:csv_special_character": (
        {},
        "ProductID,Category,Brand,Price,Stock\n" + '1,a,"b&c",2,3\n' * 14,
        "ProductID,Category,Brand,Price,Stock\n" + "1,a,b,2,3\n" * 14,
    ),
    "custom:csv_quotes": (
        {},
        '"StudentID"\t"Subject"\t"Grade"\t"Semester"\t"Score"\n' + '"1"\t"a"\t"b"\t"c"\t"2"\n' * 3,
        "StudentID\tSubject\tGrade\tSemester\tScore\n" + "1\ta\tb\tc\t2\n" * 3,
    ),
    "custom:date_format_list": ({}, "1796-04-12, 1815-06-18", "1796-04-31"),
}
CASES = IFEVAL | IFBENCH
HOSTILE = ("a", ".", ". ", "\n", "\n \n", "*", "**", "[", "[]", "<<", '"', "'\"", "(", "([{", "***")
HOSTILE += ("_", "a. _")  # a closing mark that is a word, too


def bind(name):
    arguments, _, _ = CASES[name]
    return (ifeval.KINDS | ifbench.KINDS)[name].bind(arguments)


def write(tmp_path, *rows):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    add_problem_files([file])
    return file, f"instructions:{sha256(file.read_bytes()).hexdigest()}"


def make_row(names, arguments, prompt="Write."):
    return {"key": 1, "prompt": prompt, "instruction_id_list": names, "kwargs": arguments}


def test_all_kinds_are_here():
    assert (IFEVAL.keys(), len(IFEVAL)) == (ifeval.KINDS.keys(), 25)
    assert (IFBENCH.keys(), len(IFBENCH)) == (ifbench.KINDS.keys(), 50)


@pytest.mark.parametrize("name", CASES)
def test_a_kind_tells_replies_apart(name):
    _, met, missed = CASES[name]
    check = bind(name)
    assert (check(met), check(missed)) == (True, False)


@pytest.mark.parametrize("name", CASES)
def test_hostile_text_is_read_a_few_times(name):
    """Twice the text is at most about twice the work, whatever it is made of."""
    check = bind(name)
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
