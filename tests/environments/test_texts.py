"""`text:SHA256`: what files of questions and answers in words hold, and which answers are right."""

import json
import subprocess
import sys
from hashlib import sha256

import pytest

from assay.environments.base import UNREAD, rate_answer
from assay.environments.plain_form import read_answers, write_plainly
from assay.environments.problem_file import ProblemFileError, add_problem_files
from assay.environments.problem_look import look_at_file
from assay.environments.problem_report import write_rows
from assay.environments.problem_vetting import vet_problem_file
from assay.environments.registry import make_environment
from assay.environments.text_file import TextFile
from assay.environments.thoughtless import measure_thoughtless
from tests.environments.conftest import make_seed

RIGHT, WRONG = rate_answer(1), rate_answer(0)
#: Data set → a made row in its shape, to which `a fox` is an answer; nothing of the data is here.
SHAPES = {
    "NQ-open": {"question": "who digs", "answer": ["a fox", "the foxes"]},
    "NQ of FlashRAG": {"id": "1", "question": "who digs", "golden_answers": ["a fox"]},
    "TriviaQA": {
        **{"question": "Who digs?", "question_id": "tc_1", "question_source": "x"},
        **{"entity_pages": {"title": [], "wiki_context": []}, "search_results": {"title": []}},
        "answer": {
            **{"value": "Fox", "aliases": ["The fox", "Vulpes"], "type": "WikipediaEntity"},
            **{"normalized_aliases": ["fox"], "normalized_value": "fox"},
        },
    },
    "TriviaQA's own": {
        **{"Question": "Who digs?", "QuestionId": "tc_1", "SearchResults": []},
        "Answer": {"Value": "Fox", "Aliases": ["Vulpes"], "Type": "WikipediaEntity"},
    },
    "PopQA": {"id": 1, "question": "Who digs?", "possible_answers": '["fox", "a vulpes"]'},
    "a table": {"Question": "Who digs?", "Answer": "A fox."},
    "a passage": {"question": "Who digs?", "answer": "fox", "passage": "A fox digs."},
    "a chat": {"prompt": [{"role": "user", "content": "Who digs?"}], "ground_truth": "fox"},
    "a sentence with a box": {"query": "Who digs?", "answer": r"It is \boxed{a fox}."},
}


def write(tmp_path, *rows, name="rows.jsonl"):
    file = tmp_path / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    add_problem_files([file])
    return file, f"text:{sha256(file.read_bytes()).hexdigest()}"


def make_problem(environment, number=0):
    return environment.make_problem(make_seed(number), environment.levels)


# --- what a file holds


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_asked_as_it_is(tmp_path, name):
    file, environment_name = write(tmp_path, SHAPES[name])
    look, _ = look_at_file(file)
    assert (look.environment, look.asked, look.is_usable) == (environment_name, 1, True)
    environment = make_environment(environment_name, {})
    problem = make_problem(environment)
    before = "A fox digs.\n\n" if name == "a passage" else ""
    asked = "who digs" if name.startswith("NQ") else "Who digs?"
    assert problem.prompt == (
        f"{before}{asked}\nEnd with a line of ####, a space and the answer in a few words.\n"
    )
    assert environment.score(problem, "It does.\n#### The  FOX!") == RIGHT
    assert environment.score(problem, "#### a hen") == WRONG


def test_a_document_in_the_shape_of_squad_is_its_questions(tmp_path):
    asked = [
        {"id": "1", "question": "Who digs?", "answers": [{"text": "A fox", "answer_start": 0}]},
        {
            **{"id": "2", "question": "Who sings?", "answers": [], "is_impossible": True},
            "plausible_answers": [{"text": "fox", "answer_start": 2}],
        },
    ]
    paragraphs = [{"context": "A fox digs.", "qas": asked}, {"context": "Hens do not.", "qas": []}]
    file = tmp_path / "squad.json"
    file.write_text(
        json.dumps({"version": "v2.0", "data": [{"title": "Fox", "paragraphs": paragraphs}]})
    )
    look, _ = look_at_file(file)
    assert (look.environment[:7], look.asked, look.documents) == ("search:", 1, 2)
    assert look.left_out == {"that says it has no answer": [2]}
    assert look.fits == {"text": [1]}
    look, rows = look_at_file(file, family="text")
    assert (look.asked, look.is_usable, rows[0].shown) == (1, True, "A fox digs.\n\nWho digs?")
    assert look.left_out == {"that says it has no answer": [2], "without a question": [3]}


def test_articles_of_another_shape_are_rows(tmp_path):
    """A file that only looks like SQuAD's is read as a list of rows, and says what it lacks."""
    for odd in (7, [], [7], [{"context": "x", "qas": 7}], [{"context": "x", "qas": [7]}]):
        file = tmp_path / "odd.json"
        file.write_text(json.dumps({"data": [{"title": "Fox", "paragraphs": odd}]}))
        with pytest.raises(ProblemFileError, match="columns title, paragraphs is known"):
            look_at_file(file)


@pytest.mark.parametrize("family", ["math", "text"])
def test_a_file_of_numbers_and_words_names_both(tmp_path, family):
    rows = [{"question": f"{i}+1?", "answer": str(i + 1)} for i in range(10)]
    rows += [
        {"question": f"Who is {i}?", "answer": f"Name {'abcdefghij'[i]}{i}"} for i in range(10)
    ]
    file, _ = write(tmp_path, *(rows if family == "math" else rows[:0:-1]))
    look, _ = look_at_file(file)
    assert look.environment.partition(":")[0] == family
    if family == "math":
        assert look.left_out == {"words": [*range(11, 21)]}
        assert look.fits == {"text": [*range(11, 21)]}
    else:
        assert (look.asked, look.left_out) == (19, {})
        assert look.fits == {"math": [*range(11, 20)]}
    if family == "text":
        return
    done = subprocess.run(
        [sys.executable, "-m", "assay", "env", "look", str(file)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "10 in words: text that has no value" in done.stdout
    assert "--as text: text:SHA256 asks 10 rows with short answers in words" in done.stdout


def test_columns_that_a_person_names(tmp_path):
    file, _ = write(
        tmp_path, {"frage": "Who digs?", "antwort": "Fox", "stufe": 4, "pad": "x" * 70_000}
    )
    chosen = {"problem": "frage", "answer": "antwort", "level": "stufe"}
    look, rows = look_at_file(file, chosen, family="text")
    assert (look.asked, look.per_level, look.is_usable) == (1, {4: 1}, False)
    written = tmp_path / "written.jsonl"
    written.write_bytes(write_rows(rows))
    again, rows = look_at_file(written)
    assert (again.asked, again.per_level, again.is_usable) == (1, {4: 1}, True)
    assert json.loads(written.read_bytes()) == {
        "question": "Who digs?",
        "answers": ["Fox"],
        "level": 4,
    }
    with pytest.raises(ProblemFileError, match="columns are named for math and text alone"):
        look_at_file(file, chosen, family="letters")
    for odd, said in (
        ({"problem": "gone"}, "no column 'gone'"),
        ({"solution": "pad"}, "no part 'sol"),
    ):
        with pytest.raises(ProblemFileError, match=said):
            look_at_file(file, odd, family="text")


def test_a_column_within_an_object_may_be_named(tmp_path):
    row = {"question": "Who digs?", "answers_spans": {"spans": ["a fox"], "types": ["span"]}}
    file, _ = write(tmp_path, row)
    look, rows = look_at_file(file, {"answer": "answers_spans.spans"}, family="text")
    assert (look.asked, look.columns["answer"]) == (1, "answers_spans.spans")
    written = tmp_path / "written.jsonl"
    written.write_bytes(write_rows(rows))
    assert look_at_file(written, family="text")[1][0].answer == "fox"
    with pytest.raises(ProblemFileError, match=r"no column 'answers_spans\.gone'"):
        look_at_file(file, {"answer": "answers_spans.gone"}, family="text")


def test_lists_as_python_writes_them_are_named_as_such(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("""question,answer\nWho digs?,"['a fox', 'a vulpes']"\n""")
    look, _ = look_at_file(file)
    assert look.left_out == {"with a list that is no JSON for an answer": [1]}


def test_a_passage_stays_as_it_was_written(tmp_path):
    """Rows that are written anew ask what they asked."""
    row = {"question": "Who digs?", "answer": "fox", "pages": "x" * 70_000}
    row["context"] = [["Fox", ["It\n\n\ndigs. ", " So."]], ["Hen", ["It\tdoes not."]]]
    file, _ = write(tmp_path, row)
    _, rows = look_at_file(file, family="text")
    written = tmp_path / "written.jsonl"
    written.write_bytes(write_rows(rows))
    _, again = look_at_file(written)
    assert rows[0].shown == "Fox\nIt\n\ndigs. So.\n\nHen\nIt does not.\n\nWho digs?"
    assert again[0].shown == rows[0].shown
    look, _ = look_at_file(written, suites=[file])
    assert look.suites == {str(file): [1]}


#: A row that nothing asks → the reason.
BAD = {
    "10 MB in a cell": (
        {"question": "Who?", "answer": "x", "context": "x" * 10**7},
        "with a passage of more than 8,192 characters",
    ),
    "10 MB of an answer": (
        {"question": "Who?", "answer": "x" * 10**7}, "with more than 128 characters for an answer"
    ),
    "NaN": ({"question": "Who?", "answer": float("nan")}, "it is not JSON: NaN is not a number"),
    "a number": ({"question": "Who?", "answer": 1.5}, "with an answer of another type"),
    "an object": ({"question": {"a": 1}, "answer": "x"}, "with a question that is no text"),
    "a million parts": (
        {"question": "Who?", "answer": "x", "context": [["", ["x"]]] * 10**6},
        "with a passage of more than 8,192 characters",
    ),
    "a million answers": ({"question": "Who?", "answer": [None] * 10**6}, "without an answer"),
    "a deep one": (
        {"question": "Who?", "answer": json.loads("[" * 60 + "]" * 60)}, "without an answer"
    ),
    "a mixed list": (
        {"question": "Who?", "answer": "x", "context": ["a", 7]}, "with a passage of another shape"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_counted(tmp_path, name):
    row, reason = BAD[name]
    file, _ = write(tmp_path, row, *({"question": f"{i}?", "answer": f"fox {i}"} for i in range(5)))
    look, _ = look_at_file(file, family="text")
    assert look.asked == 5
    assert {**look.left_out, **look.damaged} == {reason: [1]}


def test_a_long_cell_of_csv_is_a_row_that_is_counted(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(f"question,answer,context\nWho?,Ida,{'x' * 10**7}\nWho digs?,fox,A fox digs.\n")
    look, _ = look_at_file(file, family="text")
    assert (look.asked, look.left_out) == (1, {"with a passage of more than 8,192 characters": [1]})


def test_contradictions_and_repetitions(tmp_path):
    row = {"question": "Who digs?", "answer": "fox"}
    other = row | {"answer": "hen"}
    passage = {"context": "A hen digs."}
    _, name = write(tmp_path, row, row | {"answer": "A FOX."}, *((other | passage,) * 2))
    assert make_environment(name, {}).skipped == {
        **{"asked already": [2, 4], "without the passage that others have": [1]}
    }
    file, name = write(tmp_path, row, {"question": "Who?", "answer": "Ida"}, other)
    with pytest.raises(ProblemFileError, match="row 3: it asks what row 1 asks"):
        make_environment(name, {})
    look, rows = look_at_file(file)
    assert (look.asked, [row.number for row in rows]) == (1, [2])


# --- which answers are right


def test_what_hostile_answers_earn(tmp_path):
    row = {"question": "Who digs there?", "answer": ["a fox", "Vulpes vulpes", "the Fennec"]}
    _, name = write(tmp_path, row)
    environment = make_environment(name, {})
    problem = make_problem(environment)
    for answer in ("Fox", "fox.", '"The fox"', "vulpes\tvulpes", "FENNEC!", "(a) fox", "f'ox"):
        assert environment.score(problem, f"#### {answer}") == RIGHT, answer
    for answer in (
        *("fox, vulpes vulpes, fennec", "fox vulpes vulpes", "fox or fennec", "fox/fennec"),
        *("it is a fox", "fox fox", "no fox", "foxes", "fo x", "Who digs there?", "yes", "yes no"),
        *("f\u043ex", "fo\u200bx", "\uff26ox", "fox\u00a0", "fox\x00", "fo\u00adx", "fox" * 9_000),
        *("# fox", "[fox](a)", "fox\nhen", "$fox$", "vulpes"),
    ):
        assert environment.score(problem, f"#### {answer}") == WRONG, answer
    for text in ("fox", "", "#### ", "#### the", "#### ?!", "#### fox\n#### fox", "a #### fox"):
        assert environment.score(problem, text) == UNREAD, text
    assert environment.score(problem, f"#### fox{' ' * (1 << 15)}") == UNREAD
    assert environment.score(problem, f"{'fox ' * 10**6}\n#### fox") == RIGHT


@pytest.mark.parametrize("form", range(4))
def test_right_answers_earn_in_every_form(tmp_path, form):
    answers = ["{fox}", "C++", "1,000", "a 'fox'", "caf\u00e9", "x < y", "</answer>", "\\"]
    rows = [{"question": f"{i}?", "answer": answer} for i, answer in enumerate(answers)]
    _, name = write(tmp_path, *rows)
    environment = make_environment(name, {"answer_form": form})
    assert environment.skipped == {"with a formula for an answer": [8]}
    for number in range(40):
        problem = make_problem(environment, number)
        right = problem.answer.row.answers[0]
        if (form, right) != (2, "</answer>"):  # nothing with that mark is between tags
            assert environment.score(problem, environment.write_answer(right)) == RIGHT


def test_what_takes_no_thought(tmp_path):
    """The commonest answers of a file are what a lazy model learns first."""
    rows = [
        {"question": f"{i}?", "answer": "fox" if i % 2 else f"hen {i}", "level": 1}
        for i in range(40)
    ]
    file, name = write(tmp_path, *rows)
    environment = make_environment(name, {})
    (best,) = measure_thoughtless(environment, [1])
    assert best.sample == "#### fox"
    assert best.is_too_right
    assert vet_problem_file(file).failed == ("constant answers",)


def test_another_environments_problem_is_refused(tmp_path):
    _, name = write(tmp_path, SHAPES["NQ-open"])
    other = make_environment("gsm", {}).make_problem(make_seed(0), [1])
    with pytest.raises(TypeError, match="not a problem of text:"):
        TextFile(name.partition(":")[2], {}).score(other, "")


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("a", ["a"]),
        (7, ["7"]),
        (["a", ["b", 1]], ["a", "b", "1"]),
        ({"Value": "a", "Aliases": ["b"], "more": "c"}, ["a", "b"]),
        ([{"text": "a", "answer_start": 3}], ["a"]),
        ('["a", "b"]', ["a", "b"]),
        ("[1, 2]", ["[1, 2]"]),
        (r"\boxed{a} or \boxed{b{c}}.", ["b{c}"]),
        (r"\boxed{a", [r"\boxed{a"]),
        (None, []),
    ],
)
def test_answers_as_files_write_them(value, texts):
    assert read_answers({"answer": value}, ["answer", "answers"]) == (texts, None)


# --- files in the shapes that people have


def make_row(name, number):
    """A made row: one in five of HotpotQA's compares two things, and one in twenty says yes or
    no."""
    thing, place, year = f"Own Hill {number}", f"Ownland {number % 37}", str(1700 + number * 3)
    question, answer = [
        (f"In which country is {thing}?", place),
        (f"When was {thing} first climbed?", year),
        (f"How high is {thing}?", f"{number * 7 + 100:,} metres"),
        (f"Who climbed {thing} first?", f"Ada O'Own-{number}"),
    ][number % 4]
    text = f"{thing} is {number * 7 + 100:,} metres high. It is in {place}. "
    text += f"Ada O'Own-{number} came in {year}."
    if name == "NQ-open":
        return {"question": question.lower().rstrip("?"), "answer": [answer, f"the {answer}"]}
    if name == "TriviaQA":
        return {"question": question, "answer": {"value": answer, "aliases": [answer.upper()]}}
    if name == "SQuAD":
        answers = {"text": [answer] * 3, "answer_start": [text.index(answer)] * 3}
        return {"title": thing, "context": text, "question": question, "answers": answers}
    other = f"Own Lake {number}"
    if number % 5 == 4:
        question, answer = f"Which is older, {thing} or {other}?", (thing, other)[number % 2]
    if number % 20 == 3:
        question, answer = f"Are {thing} and {other} in one country?", ("yes", "no")[number % 2]
    documents = {"title": [thing, other], "sentences": [[text], [f"{other} is old.", " Very."]]}
    return {"question": question, "answer": answer, "context": documents, "level": "hard"}


@pytest.mark.parametrize("name", ["NQ-open", "TriviaQA", "SQuAD", "HotpotQA"])
def test_well_formed_rows_are_asked_with_what_they_need(tmp_path, name):
    rows = [make_row(name, number) for number in range(100)]
    file, _ = write(tmp_path, *rows)
    look, _ = look_at_file(file)
    assert not look.damaged
    families = {look.environment.partition(":")[0], *look.fits}
    assert families == {
        "NQ-open": {"text"}, "TriviaQA": {"text"}, "SQuAD": {"search", "text"},
        "HotpotQA": {"search", "text", "letters"},
    }[name]  # fmt: skip
    asked = set()
    for family in families:
        read, kept = look_at_file(file, family=family)
        assert read.is_usable
        asked |= {row.number for row in kept}
        problem = make_problem(make_environment(read.environment, {}))
        if name in ("SQuAD", "HotpotQA") and family != "search":
            assert "metres high" in problem.prompt
    assert len(asked) >= 0.95 * len(rows), look.left_out


def test_the_plain_form_is_one_for_all():
    assert write_plainly("The  U.S. Army's (1st) `A`") == "us armys 1st"
