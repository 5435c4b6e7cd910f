"""`search:SHA256`: what files hold, what queries find, and which answers are right."""

import json
import math
import random
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from hashlib import sha256
from itertools import accumulate, pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments.base import UNREAD, rate_answer
from assay.environments.listing import list_environments
from assay.environments.plain_form import write_plainly
from assay.environments.problem_file import ProblemFileError, add_problem_files
from assay.environments.problem_look import look_at_file
from assay.environments.problem_report import write_rows
from assay.environments.problem_shards import join_files
from assay.environments.problem_vetting import vet_problem_file
from assay.environments.registry import (
    list_manners,
    list_named_levels,
    make_environment,
    open_environment,
    parse_choice,
)
from assay.environments.search import search_rows
from assay.environments.search.index import Index, compute_log, split_words
from assay.environments.search.search_file import NOTHING, UNSEARCHABLE, Search, SearchFile
from assay.environments.search.search_rows import Document, read_search_row
from assay.evaluation.suite import EvaluationError, read_suite
from assay.protocol.parameters import EnvironmentChoice, Setting
from tests.environments.conftest import make_seed

RIGHT, WRONG = rate_answer(1), rate_answer(0)
FOX = Document("Fox", "It digs.")
#: Data set → a made row in its shape, whose document is `FOX`; nothing of the data is here.
SHAPES = {
    "BEIR's corpus": {"_id": "1", "title": "Fox", "text": "It digs.", "metadata": {}},
    "HotpotQA": {
        **{"_id": "5a", "question": "Who digs?", "answer": "Fox", "type": "bridge"},
        **{"level": "easy", "context": [["Fox", ["It", " digs."]]]},
        "supporting_facts": [["Fox", 0]],
    },
    "HotpotQA, of the hub": {
        **{"id": "5a", "question": "Who digs?", "answer": "Fox", "type": "bridge"},
        **{"level": "hard", "context": {"title": ["Fox"], "sentences": [["It ", "digs."]]}},
    },
    "MuSiQue": {
        **{"id": "2hop", "question": "Who digs?", "answer": "Vulpes", "answerable": True},
        **{"answer_aliases": ["a fox"]},
        "paragraphs": [{"idx": 0, "title": "Fox", "paragraph_text": "It\ndigs."}],
    },
    "SQuAD": {
        **{"id": "5", "title": "Fox", "context": "It digs.", "question": "Who digs?"},
        "answers": {"text": ["Fox", "the fox"], "answer_start": [0, 0]},
    },
    "a question with its passage": {
        **{"question": "Who digs?", "golden_answers": ["fox"], "title": "Fox", "text": "It digs."}
    },
}
CORPUS = [
    {"id": "1", "contents": "Ada has a fox, and the fox digs."},
    {"id": "2", "contents": "Ben has a hen."},
]
QUESTIONS = [
    {"id": f"q{number}", "question": f"{text}?", "golden_answers": [answer]}
    for number, (text, answer) in enumerate(
        (("Who has a fox", "Ada"), ("Who has a hen", "Ben"), ("What does the fox do", "It digs."))
    )
]


def write(tmp_path, *rows, name="rows.jsonl"):
    file = tmp_path / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    add_problem_files([file])
    return file, f"search:{sha256(file.read_bytes()).hexdigest()}"


def read(row):
    return read_search_row(json.dumps(row).encode())


def search(*texts, passages=3, characters=600):
    return Search([Document("", text) for text in texts], passages, characters)


# --- what a file holds


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_has_its_document_and_its_question(name):
    row = read(SHAPES[name])
    assert row.documents == (FOX,)
    if name != "BEIR's corpus":
        assert (row.question, "fox" in row.answers, row.fault) == ("Who digs?", True, None)


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "BEIR's corpus"])
def test_a_file_of_each_shape_is_one_to_search(tmp_path, name):
    file, environment = write(tmp_path, SHAPES[name])
    look, _ = look_at_file(file)
    assert (look.environment, look.asked, look.documents) == (environment, 1, 1)
    assert look.is_usable
    entry = next(one for one in list_environments() if one.file == str(file))
    assert (entry.name, entry.usable, list(entry.settings)) == (
        environment, True, ["passages", "characters", "answer_form"],
    )  # fmt: skip


def write_parquet(tmp_path, rows):
    file = tmp_path / "rows.parquet"
    names = dict.fromkeys(name for row in rows for name in row)
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), file)
    add_problem_files([file])
    return file, sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "rows",
    [
        [SHAPES["HotpotQA, of the hub"]],
        [{"title": "Fox", "contents": "It digs."}, {"question": "Who?", "golden_answers": ["fox"]}],
    ],
    ids=["HotpotQA", "a corpus of FlashRAG"],
)
def test_parquet_has_its_documents(tmp_path, rows):
    file, digest = write_parquet(tmp_path, rows)
    joined = join_files([file], lambda _: None)
    look, _ = look_at_file(file, joined=joined)
    assert (look.asked, look.documents) == (1, 1)
    assert [one.name for one in list_environments() if one.file] == [f"search:{digest}"]


def test_columns_of_documents_are_not_read_for_other_environments(tmp_path):
    """Rows of other environments have the bytes that they had, and no type is odd to them."""
    row = {"question": "1+1?", "answer": "#### 2", "context": "x" * 70_000}
    _, digest = write_parquet(tmp_path, [row])
    assert [one.name for one in list_environments() if one.file] == [f"gsm:{digest}"]
    file, digest = write_parquet(tmp_path, [row | {"answer": "2", "context": b"bytes"}])
    assert look_at_file(file)[0].environment == f"math:{digest}"


def test_documents_are_one_line_each_and_come_once(tmp_path):
    rows = search_rows.SearchRows()
    texts = ["It\r\n digs. ", "\x00It\x85digs.\ud800", ["It", "", "digs."], "It digs. It"]
    empty = [None, "", "...", [], "\u00e9"]
    lines = [json.dumps({"title": " Fox\t", "text": text}).encode() for text in texts]
    lines += [json.dumps({"title": "Fox", "text": text}).encode() for text in empty]
    assert not rows.add_all(lines)
    assert list(rows.documents) == [FOX, Document("Fox", "It digs. It")]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ([1], "it is not an object"),
        ({}, "it has no field: search:SHA256 takes documents, with a text, and questions"),
        ({"problem": "1+1", "answer": "2"}, "it has problem, answer: search:SHA256 takes docum"),
        ({"question": 7, "answer": "x"}, "its question is 7, and search:SHA256 takes text: docu"),
        ({"question": "Who\x00?", "answer": "x"}, r"its question holds the character U\+0000"),
        ({"question": " ", "answer": "x"}, "its question has 0 characters: 1 to 8192 may be"),
        ({"text": {"a": 1}}, "a document of it is no text"),
        ({"text": ["a", 1]}, "a document of it is no text"),
        ({"context": [["Fox", ["It digs."]], ["Hen"]]}, "its context is not a list of titles and"),
        ({"context": {"title": ["Fox"], "sentences": []}}, "its context is not a list of titles"),
        ({"paragraphs": 3}, "its paragraphs is not a list of titles and texts"),
        ({"text": "x" * 8_192}, "has 8193 characters: at most 8,192 may be, so divide it"),
    ],
)
def test_a_wrong_row_is_named_with_its_fault(tmp_path, row, fault):
    _, name = write(tmp_path, SHAPES["SQuAD"], row)
    with pytest.raises(ProblemFileError, match=f"rows.jsonl, row 2: .*{fault}"):
        make_environment(name, {})


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([CORPUS[0]], "of its 1 problems can be asked: 1 with documents and no question"),
        (QUESTIONS, "3 in a file without documents"),
        ([*CORPUS, {"question": "Who?", "answers": {"text": []}}], "1 without an answer"),
        ([*CORPUS, {"question": "Who?", "answer": "The."}], "1 without an answer"),
        ([*CORPUS, {"question": "Who?", "answer": [None]}], "1 without an answer"),
        ([*CORPUS, {"question": "Who?"}], "1 without an answer"),
        ([*CORPUS, {"question": "Who?", "answer": ["x", 1.5]}], "1 with an answer of another type"),
        ([*CORPUS, {"question": "Who?", "answer": "x\x00"}], "1 with a control character in an"),
        ([*CORPUS, {"question": "Who?", "answer": "['x']"}], "1 with a list that is no JSON for"),
        ([*CORPUS, {"question": "Is it?", "answer": True}], "1 with a yes or no for an answer"),
        (
            [*CORPUS, {"question": "Who?", "answer": "x", "answerable": False}],
            "1 that says it has no answer",
        ),
        (
            [*CORPUS, {"question": "Who?", "answer": "x", "is_impossible": "True"}],
            "1 that says it has no answer",
        ),
        ([*CORPUS, {"question": "Is it?", "answer": "Yes!"}], "1 with a yes or no for an answer"),
        ([*CORPUS, {"question": "Ada or Ben?", "answer": "ben"}], "1 with the answer in the que"),
    ],
)
def test_a_file_that_asks_nothing_says_why(tmp_path, rows, why):
    _, name = write(tmp_path, *rows)
    with pytest.raises(ProblemFileError, match=why):
        make_environment(name, {})


def test_an_empty_file_is_none(tmp_path):
    _, name = write(tmp_path)
    with pytest.raises(ProblemFileError, match="is empty"):
        make_environment(name, {})


def test_an_answer_within_a_word_of_the_question_is_asked():
    assert read({"question": "Who is Adam?", "answer": "Ada"}).fault is None


def test_a_contradiction_is_refused_and_a_repetition_is_skipped(tmp_path):
    again = {"question": "Who has a fox?", "answer": ["ada."]}
    _, name = write(tmp_path, *CORPUS, *QUESTIONS, again)
    assert SearchFile(name.partition(":")[2], {}).skipped == {"asked already": [6]}
    _, name = write(tmp_path, *CORPUS, *QUESTIONS, again | {"answer": "Ben"})
    with pytest.raises(ProblemFileError, match="row 6: it asks what row 3 asks"):
        make_environment(name, {})


def test_more_documents_than_a_node_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(search_rows, "DOCUMENTS_MAX", 2)
    _, name = write(tmp_path, *CORPUS, *QUESTIONS)
    assert make_environment(name, {}).levels
    _, name = write(tmp_path, *CORPUS, {"text": "A third."}, *QUESTIONS)
    with pytest.raises(ProblemFileError, match="row 3: its documents are more than 2 with those"):
        make_environment(name, {})


def test_levels_are_the_files_or_bands_of_length(tmp_path):
    stated = ["easy", "Level 2", "hard"]
    rows = [row | {"level": level} for row, level in zip(QUESTIONS, stated, strict=True)]
    _, name = write(tmp_path, *CORPUS, *rows)
    environment = make_environment(name, {})
    assert list(environment.levels) == [1, 2, 3]
    asked = [environment.make_problem(make_seed(0), [level]).question for level in (1, 2, 3)]
    assert asked == [row["question"] for row in QUESTIONS]
    _, name = write(tmp_path, *CORPUS, *rows[:2], QUESTIONS[2])
    environment = make_environment(name, {})
    asked = [environment.make_problem(make_seed(0), [level]).question for level in (1, 2, 3)]
    assert asked == sorted((row["question"] for row in QUESTIONS), key=len)


def test_a_corpus_and_its_questions_become_one_file(tmp_path):
    files = [write(tmp_path, *rows, name=f"{len(rows)}.jsonl")[0] for rows in (QUESTIONS, CORPUS)]
    look, rows = look_at_file(tmp_path, joined=join_files(files, lambda _: None))
    assert (look.asked, look.documents, look.is_usable) == (3, 2, False)
    written = tmp_path / "written.jsonl"
    written.write_bytes(write_rows(rows, look.corpus))
    again, _ = look_at_file(written)
    assert (again.asked, again.documents, again.is_usable) == (3, 2, True)
    assert again.columns == {
        **{"problem": "question", "answer": "golden_answers", "documents": "contents"}
    }


def test_documents_behind_many_questions_show_what_the_file_is(tmp_path):
    rows = [{"question": f"Who is {number}?", "answer": "Ada"} for number in range(80)]
    _, name = write(tmp_path, *rows, *CORPUS)
    assert look_at_file(tmp_path / "rows.jsonl")[0].environment == name
    assert [one.name for one in list_environments() if one.file] == [name]


def test_a_file_of_other_problems_is_none_to_search(tmp_path):
    for row, family in (
        ({"question": "1+1?", "answer": "2"}, "math"),
        ({"question": "1+1?", "answer": "2", "context": ""}, "math"),
        ({"problem": "1+1?", "answer": "2", "text": "Sums"}, "math"),
        ({"problem": "1+1?", "answer": "2", "text": "Sums", "context": "Sums"}, "text"),
        ({"question": "Who digs?", "golden_answers": ["a fox"]}, "text"),
    ):
        file, _ = write(tmp_path, row)
        assert look_at_file(file)[0].environment.partition(":")[0] == family


def test_vetting_and_suites(tmp_path):
    rows = [
        {"question": f"Who is number {number}?", "answer": f"Name{number}", "level": 1}
        for number in range(40)
    ]
    file, _ = write(tmp_path, *CORPUS, *rows)
    report = vet_problem_file(file)
    assert {check.name for check in report.checks if check.passed} == {
        *("rows", "right answers", "thoughts", "hostile answers", "constant answers")
    }
    assert report.failed == ("answers in documents",)
    file, _ = write(tmp_path, *CORPUS, *rows, {"text": f"Name{' name'.join(map(str, range(40)))}!"})
    assert not vet_problem_file(file).failed
    with pytest.raises(EvaluationError, match="a suite is asked in one turn"):
        read_suite(file)


# --- which answers are right


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ("The  Sea of\tGlass.\r\n", "sea of glass"),
        ("U.S.A.", "usa"),
        ("1,234,567", "1234567"),
        ("1,5", "1,5"),
        ("0.5", "0.5"),
        (".5", ".5"),
        ("-5", "-5"),
        ("12:30", "12:30"),
        ("C++", "c++"),
        ("\u00c9mile", "\u00c9mile"),
        ("a an THE", ""),
        ("?!", ""),
    ],
)
def test_the_plain_form_of_an_answer(answer, plain):
    assert write_plainly(answer) == plain
    assert write_plainly(plain) == plain


def test_what_answers_earn(tmp_path):
    row = {"question": "How long is it?", "answer": "1.5 miles", "answers": ["2,414 m"]}
    _, name = write(tmp_path, *CORPUS, row)
    environment = make_environment(name, {})
    problem = environment.make_problem(make_seed(0), environment.levels)
    assert problem.prompt == (
        "How long is it?\nEnd with a line of ####, a space and the answer in a few words.\n"
        "Or end a turn with a line of search:, a space and words to find in the documents. "
        "A reply follows.\n"
    )
    for answer in ("1.5 miles", "1.5  Miles.", "2414 M", "2,414 m\n", "(the) 1.5 miles"):
        assert environment.score(problem, f"So\n#### {answer}") == RIGHT
    for answer in ("15 miles", "1.5", "miles 1.5", "1.5 miles or 2414 m", "24,14 m", "2,4,14 m"):
        assert environment.score(problem, f"So\n#### {answer}") == WRONG
    for text in ("1.5 miles", "#### ", "#### the", "#### 1.5 miles\n#### 1.5 miles", ""):
        assert environment.score(problem, text) == UNREAD
    other = make_environment("gsm", {}).make_problem(make_seed(0), [1])
    with pytest.raises(TypeError, match="not a problem of search:"):
        environment.score(other, "")
    tagged = make_environment(name, {"answer_form": 2})
    assert tagged.score(problem, "<answer>2414 m</answer>") == RIGHT


# --- an episode


CALLS = {
    "line": "search: {}",
    "hermes": '<tool_call>{{"name": "search", "arguments": {{"query": "{}"}}}}</tool_call>',
    "llama": '{{"name": "search", "parameters": {{"query": "{}"}}}}',
    "xml": "<tool_call><function=search><parameter=query>{}</parameter></function></tool_call>",
    "mistral": '[TOOL_CALLS]search[ARGS]{{"query": "{}"}}',
}


@pytest.mark.parametrize("form", CALLS)
def test_a_model_searches_in_every_form_and_then_answers(tmp_path, form):
    _, name = write(tmp_path, *CORPUS, QUESTIONS[0])
    environment = make_environment(*parse_choice(f"{name},call_form={form}"))
    assert environment.turns > 1
    state = environment.open(environment.make_problem(make_seed(0), [1]))
    end = "\n" if form == "line" else ""
    for query, result in (
        ("fox", "Doc 1 Ada has a fox, and the fox digs."),
        ("Ben's hen", "Doc 1 Ben has a hen."),
        ("zebra", NOTHING),
        ("?", UNSEARCHABLE),
        (" ".join("x" * 65), UNSEARCHABLE),
    ):
        state, reply = state.step(CALLS[form].format(query), is_ended=True)
        assert (reply, state.score()) == (f"{result}{end}", UNREAD)
    state, reply = state.step("#### Ada.", is_ended=True)
    assert (reply, state.score()) == (None, RIGHT)


def test_the_tool_is_of_files_with_documents_alone(tmp_path):
    _, name = write(tmp_path, *CORPUS, *QUESTIONS)
    environment = make_environment(name, {})
    assert environment.params["tool"] == 2
    assert make_environment(name, {"tool": 2}).digest == environment.digest
    for tool in (0, 1):
        with pytest.raises(ValueError, match="has the tool search, and no other: leave out tool"):
            make_environment(name, {"tool": tool})
    with pytest.raises(ValueError, match="gsm has no documents for the tool search"):
        make_environment("gsm", {"tool": 2})


def test_a_network_has_it_alone_and_as_a_part(tmp_path):
    """Templates are told of the tool wherever a network's parameters are looked at."""
    _, name = write(tmp_path, *CORPUS, *QUESTIONS)
    mixed = {name: 1, "arithmetic": 1, f"{name}.call_form": 1, f"{name}.bos": 1}
    for chosen, params in ((name, {"call_form": 1}), ("mix", mixed)):
        environment = make_environment(chosen, params)
        settings = tuple(Setting(key, value) for key, value in environment.params.items())
        choice = EnvironmentChoice(chosen, settings, environment.digest)
        assert open_environment(choice).digest == environment.digest
        tools = json.loads(list_manners(choice)[name].tools)
        assert [tool["function"]["name"] for tool in tools] == ["search"]
        level = environment.levels[-1]  # of the part in order of name the last
        problem = environment.make_problem(make_seed(0), [level])
        assert json.loads(problem.conversation.tools) == tools
        _, reply = environment.open(problem).step(CALLS["hermes"].format("hen"), is_ended=True)
        assert reply == "Doc 1 Ben has a hen."
    assert list_named_levels("search:SHA256,passages=1,call_form=2", "SHA256") == [1, 2, 3, 4, 5]


# --- what queries find


def test_a_result_is_written_as_the_page_says():
    found = Search([FOX, Document("", "Foxes dig.")], 3, 100)
    assert found.answer("fox") == "Doc 1(Title: Fox) It digs."
    assert found.answer("FOXES? fox!") == "Doc 1 Foxes dig.\nDoc 2(Title: Fox) It digs."
    assert found.answer("hen") == NOTHING
    long = search("word " * 20 + "\U0001f600tail", characters=101)
    assert long.answer("tail") == "Doc 1 " + "word " * 20 + "\U0001f600..."
    assert search("1 2 3", "1 2", "1", passages=2).answer("1").count("\n") == 1


@pytest.mark.parametrize(
    "query",
    [
        *("", " \n", "?!", "\u00e9\u4e00", "\ud800", "x " * 65, "x " * 100_000, "x" * 1_025),
        *("fox" + " " * 10**7, "\x00" * 10),
    ],
    ids=lambda query: ascii(query[:8]),
)
def test_a_query_that_cannot_be_searched_is_told_so(query):
    assert search("fox x").answer(query) == UNSEARCHABLE


def test_a_long_query_is_not_read(monkeypatch):
    monkeypatch.setattr("assay.environments.search.search_file.split_words", None)
    assert search_of_one().answer("fox " * 257) == UNSEARCHABLE


def search_of_one():
    return search("fox")


def test_the_longest_query_is_searched():
    most = " ".join(["fox"] * 64)
    assert search("fox x").answer(most + " " * (1_024 - len(most))) == "Doc 1 fox x"


@given(st.text())
def test_no_query_raises(query):
    assert search("fox", "hen", "pig 1").answer(query)


def test_of_equal_documents_the_first_is_first():
    texts = ["pig"] + ["hen fox"] * 5 + ["fox hen"] * 5
    index = Index(texts)
    assert index.find([b"fox"], 10) == list(range(1, 11))
    assert index.find([b"fox", b"pig"], 3) == [0, 1, 2]


def test_shorter_rarer_and_more_count_for_more():
    texts = ["fox hen hen hen", "fox", "fox fox hen hen", "pig hen", "hen", "hen hen"]
    index = Index(texts)
    assert index.find([b"fox"], 9) == [1, 2, 0]
    assert index.find([b"hen", b"pig"], 1) == [3]
    assert Index(["fox"]).find([b"fox"], 9) == [0]


def test_a_word_that_a_query_repeats_counts_so_often_and_is_looked_up_once(monkeypatch):
    """A query of the most frequent word alone would else cost most of all."""
    index, asked = Index(["fox hen", "hen hen fox", "pig", "pig hen"]), []
    assert index.find([b"pig", b"fox", b"fox"], 1) == [0]
    assert index.find([b"pig", b"pig", b"pig", b"fox", b"fox"], 1) == [2]
    held = Counted(index._starts, asked)  # noqa: SLF001 - it is looked up there
    monkeypatch.setattr(index, "_starts", held)
    index.find([b"fox"] * 40 + [b"pig"] * 24, 1)
    assert len(asked) == 2


class Counted:
    """An array whose readings are noted."""

    def __init__(self, held, asked):
        self._held, self._asked = held, asked

    def __getitem__(self, place):
        self._asked.append(place)
        return self._held[place]


@pytest.mark.parametrize("number", [1, 2, 3, 5, 7, 1_000, 2**17 - 1, 2**17, 200_002])
def test_logarithms_are_exact(number):
    log = compute_log(number)
    assert Fraction(2) ** log <= Fraction(number) ** 1_024 < Fraction(2) ** (log + 1)


def weigh(texts, query):
    """Scores as a textbook computes them, in doublings."""
    split = [Counter(text.split()) for text in texts]
    lengths = [words.total() for words in split]
    mean = sum(lengths) / len(texts)
    holders = Counter(word for words in split for word in words)
    return [
        sum(
            math.log2(1 + (len(texts) - holders[word] + 0.5) / (holders[word] + 0.5))
            * (words[word] / (words[word] + 1.2 * (1 - 0.75 + 0.75 * length / mean)))
            for word in query
        )
        for words, length in zip(split, lengths, strict=True)
    ]


@pytest.mark.parametrize("size", [3, 40, 700])
def test_the_order_is_that_of_floats_wherever_these_are_apart(size):
    """Two scores that differ by more than the rounding of both have the order of their floats."""
    chance = random.Random(size)
    words = [f"w{number}" for number in range(size)]
    often = list(accumulate(1 / (number + 1) for number in range(size)))
    texts = [
        " ".join(chance.choices(words, cum_weights=often, k=chance.randint(1, 60)))
        for _ in range(size)
    ]
    index = Index(texts)
    apart = 0
    for _ in range(30):
        query = chance.choices(words, k=chance.randint(1, 12))
        scores = weigh(texts, query)
        found = index.find([word.encode() for word in query], size)
        bound = 2 * len(query) * 1_020 / 1_024_000
        for before, after in pairwise(found):
            assert scores[before] > scores[after] - bound
            apart += scores[before] > scores[after] + bound
        missed = set(range(size)) - set(found)
        assert all(scores[place] <= bound for place in missed)
    assert apart > size  # and the bound leaves an order to see


def test_words_are_ascii_alone():
    assert split_words("The FOX's na\u00efve\u212aX_2\u0660 \U0001d7d8z") == [
        *(b"the", b"fox", b"s", b"na", b"ve", b"x", b"2", b"z")
    ]


def test_results_are_part_of_the_digest_under_every_hash_seed(tmp_path, monkeypatch):
    file, name = write(tmp_path, *CORPUS, *QUESTIONS)
    environment = make_environment(name, {})
    program = (
        "import sys; from pathlib import Path\n"
        "from assay.environments.problem_file import add_problem_files\n"
        "from assay.environments.registry import make_environment\n"
        "add_problem_files([Path(sys.argv[1])])\n"
        "print(make_environment(sys.argv[2], {}).digest.hex())\n"
    )
    for seed in ("0", "77"):
        ran = subprocess.run(
            [sys.executable, "-c", program, str(file), name],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        )
        assert ran.stdout.strip() == environment.digest.hex()
    monkeypatch.setattr("assay.environments.search.search_file.NOTHING", "none")
    assert make_environment(name, {}).digest != environment.digest
