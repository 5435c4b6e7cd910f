"""Rows that people bring: what a model reads of them, and what is left out and said."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer

from assay.gate.tokenizer import FolderTokenizer
from assay.training.rows import first, reader
from assay.training.rows.dialogues import MESSAGES_MAX, Words
from assay.training.rows.reader import read_conversations, read_pairs
from assay.training.rows.writing import DialogueWriter
from tests.inference.test_replies import make_byte_level
from tests.inference.test_reply_frames import MARKS

ROWS = Path(__file__).parent / "rows"
TEMPLATES = Path(__file__).parents[1] / "inference" / "chat_templates"
BEGIN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
#: As SmolLM2's: of a message it knows role and content alone.
BARE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    + BEGIN
)
#: It writes all that there is.
FULL = (
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.thinking %}<think>{{ m.thinking }}</think>{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }} "
    "{{ c.function.arguments | tojson }}</call>{% endfor %}<|im_end|>\n{% endfor %}" + BEGIN
)
MOST = 4_096


@pytest.fixture(scope="module")
def open_writer() -> Callable[..., DialogueWriter]:
    """Writes by a template, with a tokenizer that has its marks."""

    def open_made(source: str | None, *ends: str) -> DialogueWriter:
        ends = ends or ("<|im_end|>",)
        made = Tokenizer.from_str(make_byte_level().to_str())
        marks = sorted({*MARKS.findall(source or ""), *ends, "<s>"})
        made.add_special_tokens([AddedToken(mark, normalized=False) for mark in marks])
        special = {"eos_token": ends[0], "bos_token": "<s>"}
        numbers = [made.token_to_id(end) for end in ends]
        size = made.get_vocab_size()
        return DialogueWriter(FolderTokenizer(made, special, source, size, numbers), numbers, MOST)

    return open_made


def dump(*rows: Any) -> list[bytes]:
    return [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]


def read_file(name: str) -> list[bytes]:
    return (ROWS / name).read_bytes().splitlines()


def spell(tokenizer: FolderTokenizer, example: Any) -> tuple[str, str]:
    return tokenizer.spell(example.prompt), tokenizer.spell(example.completion)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def say(text: str | None, **further: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **further}


def call(arguments: Any, name: str = "python") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def count(reading: Any) -> dict[str, int]:
    return {reason: one.count for reason, one in reading.left_out.items()}


def test_calls_and_thoughts_are_written_by_the_template(open_writer):
    writer = open_writer(FULL)
    reading = read_conversations(read_file("calls.jsonl"), writer)
    said = dict(
        zip(reading.origins, (spell(writer.tokenizer, x) for x in reading.found), strict=True)
    )
    assert said[1][1] == '<call>python {"code": "print(6*7)"}</call><|im_end|>'
    assert said[1][0].startswith("<|im_start|>tools\n")
    assert said[2][1] == 'I compute.<call>python {"code": "print(6*8)"}</call><|im_end|>'
    assert said[3][1] == "<think>Six nines are fifty-four.</think>#### 54<|im_end|>"
    assert said[4][1] == "#### 9<|im_end|>"
    assert "#### 8<|im_end|>" in said[4][0]  # of weight 0: read, and not learned
    assert said[5][1] == "#### 18<|im_end|>"
    assert said[7] == (
        "<|im_start|>user\nWhat is 4 times 9?<|im_end|>\n<|im_start|>assistant\n",
        "#### 36<|im_end|>",
    )
    assert said[8][0].startswith("<|im_start|>system\nAnswer in French.<|im_end|>\n")
    assert sorted(said) == [1, 2, 3, 4, 5, 7, 8]
    assert count(reading) == {
        "with an empty answer": 2,
        "without messages, or a prompt and a completion": 1,
    }
    assert reading.notes == {"with answers of weight 0, which are not learned": 1}
    assert (reading.rows, reading.unread) == (10, {})


def test_what_a_template_cannot_say_is_left_out(open_writer):
    reading = read_conversations(read_file("calls.jsonl"), open_writer(BARE))
    assert reading.origins == [4, 5, 7, 8]
    reasons = count(reading)
    assert reasons["whose calls this model's chat template does not write"] == 2
    assert reasons["whose thoughts this model's chat template does not write"] == 1
    without = read_conversations(read_file("calls.jsonl"), open_writer(None))
    assert without.origins == [4, 5, 7, 8]
    assert count(without)["with calls or tools, and the model has no chat template"] == 2


def test_each_part_must_appear(open_writer):
    tool = [user("?"), say("", tool_calls=[call({"a": 1})]), {"role": "tool", "content": "9"}]
    rows = dump(
        {"messages": [*tool, say("#### 9")]},
        {"messages": [user("?"), say("", tool_calls=[call({"a": 1}), call({"a": 2})])]},
        {"messages": [user("?"), say("Hm", tool_calls=[call({"a": 1})])]},
        {"messages": [{"role": "system", "content": "S"}, user("?"), say("ok")]},
        {"messages": [user("?"), say("")], "tools": [{"type": "function", "function": {}}]},
    )
    calls = "{% for c in m.tool_calls or [] %}<call>{{ c.function }}</call>{% endfor %}"
    head = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    body, tail = "{{ m.content }}", "<|im_end|>\n{% endfor %}" + BEGIN
    for source, lost in (
        (head + "{% if m.role != 'tool' %}" + body + "{% endif %}" + calls + tail,
         "tools' replies"),
        (head + body + calls.replace("or []", "and [m.tool_calls[0]] or []") + tail, "calls"),
        (head + "{% if m.tool_calls %}" + calls + "{% else %}" + body + "{% endif %}" + tail,
         "text beside calls"),
        (head + "{% if m.role != 'system' %}" + body + "{% endif %}" + calls + tail,
         "system message"),
    ):  # fmt: skip
        reasons = count(read_conversations(rows, open_writer(source)))
        assert reasons[f"whose {lost} this model's chat template does not write"] == 1, lost
        assert reasons["with tools that have no name"] == 1


@pytest.mark.parametrize("begun", ["so: ", "<think>\n\n</think>\n\n"])
def test_an_answer_that_is_not_behind_the_prompt_is_left_out(open_writer, begun):
    """As a template whose prompt says that there is no thought."""
    writer = open_writer(BARE.replace("assistant\n{% endif", f"assistant\n{begun}{{% endif"))
    reading = read_conversations(dump({"prompt": "1+1=?", "completion": "2"}), writer)
    reason = "whose answer this model's chat template does not write behind the prompt"
    assert count(reading) == {reason: 1}


#: Template, its end token, and what stands between a thought and what follows it.
THINKING = [
    ("deepseekv3", "<\uff5cend\u2581of\u2581sentence\uff5c>", "\n</think>\n\n"),
    ("nemotron_3_nano", "<|im_end|>", "\n</think>\n"),
    ("qwen3_5_think", "<|im_end|>", "\n</think>\n\n"),
    ("qwen3_6", "<|im_end|>", "\n</think>\n\n"),
]


@pytest.mark.parametrize(("name", "end", "closing"), THINKING)
def test_an_answer_goes_on_with_the_thought_that_its_prompt_begins(open_writer, name, end, closing):
    """All such rows were left out, or learned with an empty thought before their own."""
    writer = open_writer((TEMPLATES / f"{name}.jinja").read_text(), end)
    rows = dump(
        {"messages": [user("1"), say("#### 1", reasoning_content="T")]},
        {"messages": [user("2"), say("<think>\nT\n</think>\n\n#### 2")]},
        {"messages": [user("3"), say("T\n</think>\n\n#### 3")]},  # the set lacks what prompts have
        {"messages": [user("4"), say("#### 4")]},
        {"messages": [user("5"), say("<think>\nT #### 5")]},
    )
    reading = read_conversations(rows, writer)
    said = [spell(writer.tokenizer, one) for one in reading.found]
    assert all(asked.endswith("<think>\n") for asked, _ in said)
    thoughts = ["T", "T", "T", ""]
    assert [text for _, text in said] == [
        f"{thought}{closing}#### {n}{end}" for n, thought in enumerate(thoughts, 1)
    ]
    assert count(reading) == {"with a thought that does not end": 1}
    both = {"prompt": "?", "chosen": "<think>a</think>4", "rejected": "5"}
    (pair,) = read_pairs(dump(both), writer).found
    assert spell(writer.tokenizer, pair.chosen)[1] == f"a{closing}4{end}"
    assert spell(writer.tokenizer, pair.rejected)[1] == f"{closing}5{end}"


def test_blanks_without_end_take_no_time(open_writer):
    """They took 33 seconds."""
    begins = BARE.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
    blank = " " * 200_000
    rows = dump(
        *({"messages": [user("?"), say(text)]} for text in (f"{blank}A", f"<think>{blank}")),
        {"messages": [user("?"), say(f"{blank}x"), user("?"), say("a</think>b")]},
    )
    began = time.process_time()
    read_conversations(rows, open_writer(begins))
    assert time.process_time() - began < 10


def test_a_thought_in_an_answers_text_is_one_where_the_template_knows_thoughts(open_writer):
    row = {"messages": [user("?"), say("<think>\nT\n</think>\n\nA")]}
    for source, said in (
        (FULL, "<think>T</think>A<|im_end|>"),
        (BARE, "<think>\nT\n</think>\n\nA<|im_end|>"),  # its text, which is learned as it is
        (None, "<think>\nT\n</think>\n\nA<|im_end|>"),
    ):
        writer = open_writer(source)
        (one,) = read_conversations(dump(row), writer).found
        assert spell(writer.tokenizer, one)[1] == said


def test_the_end_token_is_the_templates_own(open_writer):
    source = (TEMPLATES / "glm4moe.jinja").read_text()
    writer = open_writer(source, "<|user|>", "<|observation|>")
    rows = dump(
        {"prompt": "1+1=?", "completion": "2"},
        {"messages": [user("?"), say("", tool_calls=[call({"a": "1"})])]},
        {"prompt": "?", "completion": "one<|user|>two"},
    )
    reading = read_conversations(rows, writer)
    plain, called = (writer.tokenizer.spell(one.completion) for one in reading.found)
    assert plain.endswith("2<|user|>")
    assert called.endswith("</tool_call><|observation|>")
    assert count(reading) == {"with an end token inside": 1}


def test_a_preference_says_its_prompt_once(open_writer):
    writer = open_writer(FULL)
    tokenizer = writer.tokenizer
    reading = read_pairs(read_file("pairs.jsonl"), writer)
    assert [spell(tokenizer, one.chosen) for one in reading.found] == [
        (f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n", f"#### {n}<|im_end|>")
        for asked, n in (("Two and two?", 4), ("Two and three?", 5))
    ]
    (pair,) = read_pairs(read_file("system.jsonl"), writer).found
    assert spell(tokenizer, pair.rejected) == (
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nOne and two?<|im_end|>\n"
        "<|im_start|>assistant\n",
        "#### 5<|im_end|>",
    )
    others = read_pairs(read_file("others.jsonl"), writer)
    said = {
        row: (*spell(tokenizer, one.chosen), tokenizer.spell(one.rejected.completion))
        for row, one in zip(others.origins, others.found, strict=True)
    }
    assert said[2][1] == '<call>python {"code": "print(6)"}</call><|im_end|>'
    assert said[3][0].startswith("<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nFive")
    assert said[4][0] == "<|im_start|>user\nSix and two?<|im_end|>\n<|im_start|>assistant\n"
    assert said[6][2] == "<|im_end|>"  # an empty answer may be the worse one
    assert others.notes == {"whose two answers both repeat the prompt": 1}
    assert count(others) == {"with a message of the assistant that answers no user": 1}
    assert others.unread == {"question": 1}
    bare = read_pairs(read_file("others.jsonl"), open_writer(BARE))
    assert count(bare)["whose calls this model's chat template does not write"] == 1


SYSTEM = {"role": "system", "content": "S"}


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": [SYSTEM, user("Q")], "chosen": [user("Q"), say("a")]}, [SYSTEM, user("Q")]),
        ({"prompt": [user("Q")], "chosen": [SYSTEM, user("Q"), say("a")]}, [SYSTEM, user("Q")]),
        ({"prompt": [], "chosen": [user("Q"), say("a")]}, [user("Q")]),
        ({"prompt": None, "chosen": [user("Q"), say("a")]}, [user("Q")]),
        ({"prompt": "Q", "chosen": [say("a")]}, [user("Q")]),
        ({"prompt": "A", "chosen": [user("A"), say("x"), user("B"), say("a")]},
         [user("A"), say("x"), user("B")]),
        ({"prompt": "R", "chosen": [user("Q"), say("a")]}, None),
        ({"prompt": [user("R")], "chosen": [user("Q"), say("a")]}, None),
        ({"prompt": [SYSTEM, user("Q")],
          "chosen": [{**SYSTEM, "content": "T"}, user("Q"), say("a")]}, None),
    ],
)  # fmt: skip
def test_a_prompt_that_stands_twice_is_one(open_writer, row, prompt):
    writer = open_writer(BARE)
    reading = read_pairs(dump({**row, "rejected": [*row["chosen"][:-1], say("b")]}), writer)
    if prompt is None:
        assert count(reading) == {"whose prompt is not that of its conversations": 1}
    else:
        (pair,) = reading.found
        asked = writer.tokenizer.write_probe(prompt, begins=True)
        assert spell(writer.tokenizer, pair.chosen) == (asked, "a<|im_end|>")
        assert spell(writer.tokenizer, pair.rejected) == (asked, "b<|im_end|>")


def test_what_nothing_reads_is_counted_by_its_key(open_writer):
    rows = dump(
        *({"prompt": f"{n}?", "completion": "a", "mood": "good", "id": n} for n in range(3)),
        {"messages": [user("Q"), {**say("a"), "feeling": 1, "audio": None}], "prompt": "other"},
        {"messages": [user("P"), say("a")], "prompt": "P"},
        {"prompt": "?", "completion": "a", "images": ["x"]},
        {"prompt": "?", "completion": [say("a", function_call={"name": "f"})]},
    )
    reading = read_conversations(rows, open_writer(BARE))
    assert reading.unread == {"mood": 3, "message.feeling": 1, "prompt": 1}
    assert reading.ignored == {"id": 3}
    assert count(reading) == {
        "with images, which nothing here reads": 1,
        "with function_call, which nothing here reads": 1,
    }
    many = dump({"prompt": "?", "completion": "a", **{f"key {n}": 1 for n in range(500)}})
    assert len(read_conversations(many, open_writer(BARE)).unread) == 65
    assert any("mood 3 times" in line for line in reading.describe())


def test_each_key_within_a_row_is_read_or_counted(open_writer):
    """These were dropped in silence."""
    asked = {**user("1"), "reasoning": "hm", "name": "Ann"}
    parts = [{"type": "text", "text": "a", "citations": ["b"]}]
    inner = {"type": "function", "function": {"name": "f", "arguments": {}, "output": 7}}
    rows = dump(
        {"messages": [asked, say(parts)], "source": "here"},
        {"messages": [user("2"), say("a")], "label": "toxic"},
        {"messages": [user("3"), say("a")], "label": True},
        {"messages": [user("4"), say("", tool_calls=[inner])]},
    )
    reading = read_conversations(rows, open_writer(FULL))
    assert reading.origins == [1, 2, 3, 4]
    assert reading.unread == {
        "message.reasoning": 1,
        "message.name": 1,
        "content.citations": 1,
        "label": 1,
        "tool_calls.output": 1,
    }
    assert reading.ignored == {"source": 1}
    assert reading.describe()[-1] == "keys that say nothing of what is learned: source"
    assert reading.to_json()["ignored"] == {"source": 1}


def test_a_table_counts_the_columns_that_were_not_unpacked(open_writer):
    reading = read_conversations(dump(*[{"prompt": "?", "completion": "a"}] * 3), open_writer(BARE))
    reading.count_columns(["id", "mood", *(f"column {n}" for n in range(70))])
    unread = reading.unread
    assert (unread["mood"], unread["other keys"], len(unread)) == (3, 21, 65)
    assert reading.ignored == {"id": 3}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"tool_calls": [{"name": "f", "parameters": {"x": 1}}]}, "whose arguments have another n"),
        ({"tool_calls": [{"type": "custom", "custom": {"name": "f"}}]}, "a call of no function"),
        ({"tool_calls": [{**call({}), "id": 7}]}, "a value of a type that nothing here reads"),
        ({"content": "a", "value": "b"}, "with a content and another one as value"),
        ({"content": "a", "from": "human"}, "with a role and another one as from"),
        ({"content": "a", "row": {"chat_template_kwargs": {"bos_token": "b"}}}, "no names of its"),
        ({"content": "a", "row": {"chat_template_kwargs": {"tools": True}}}, "no names of its own"),
    ],
)
def test_a_row_that_says_two_things_or_another_is_left_out(open_writer, message, reason):
    """A call without its arguments was learned, and of two texts one."""
    row = message.pop("row", {})
    rows = dump({"messages": [user("?"), {"role": "assistant", **message}], **row})
    (told,) = read_conversations(rows, open_writer(FULL)).left_out
    assert reason in told


def test_nulls_that_a_table_puts_into_calls_are_left_out(open_writer):
    """`datasets` and Parquet give each object the keys of all of a column's objects."""
    calls = [call({"x": 1, "y": None}), call({"x": None, "y": [{"z": None}]})]
    tool = {"type": "function", "function": {"name": "python", "strict": None}}
    row = {"messages": [user("?"), say("", tool_calls=calls)], "tools": [tool]}
    writer = open_writer(FULL)
    reading = read_conversations(dump(row), writer)
    asked, said = spell(writer.tokenizer, reading.found[0])
    assert said == '<call>python {"x": 1}</call><call>python {"y": [{}]}</call><|im_end|>'
    assert "strict" not in asked
    assert reading.notes["with nulls in calls or tools, which are left out"] == 4


def test_the_networks_words_win_and_it_is_said(open_writer):
    source = "{% if quick %}<|im_start|>quick<|im_end|>{% endif %}" + BARE
    writer = open_writer(source)
    row = {"prompt": "?", "completion": "a", "system": "S", "chat_template_kwargs": {"quick": True}}
    other = {"prompt": "!", "completion": "a"}
    (own, _) = read_conversations(dump(row, other), writer).found
    assert spell(writer.tokenizer, own)[0].startswith("<|im_start|>quick<|im_end|><|im_start|>sys")
    reading = read_conversations(dump(row, other), writer, Words("N", (("quick", False),)))
    first_, second = (spell(writer.tokenizer, one)[0] for one in reading.found)
    assert first_.startswith("<|im_start|>system\nN<|im_end|>\n<|im_start|>user\n?")
    assert second.startswith("<|im_start|>user\n!")
    assert sum(reading.notes.values()) == 2
    two = dump({"messages": [SYSTEM, user("?"), say("a")], "system": "T"})
    assert count(read_conversations(two, writer)) == {"with two different systems": 1}


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def test_bad_rows_have_a_reason_and_take_little_time(open_writer):
    writer = open_writer(FULL)
    nested = (
        '{"prompt":"?","completion":[{"role":"assistant","content":"","tool_calls":[{"function"'
    )
    fine = {"prompt": "1+1=?", "completion": "2"}
    rows = dump(
        b'{"messages":[' + b",".join([b'{"role":"user","content":"a"}'] * 500_000) + b"]}",
        {"messages": [user("a"), say("b")] * MESSAGES_MAX},
        (nested + ':{"name":"f","arguments":' + deep(1_000) + "}}]}]}").encode(),
        {"prompt": "?", "completion": [say("", tool_calls=[call(deep(1_000))])]},
        {"prompt": "?", "completion": [say("", tool_calls=[call(json.loads(deep(40)))])]},
        {"prompt": "x" * 10_000_000, "completion": "2"},
        {"prompt": "1", "completion": "x " * 10_000},
        b'{"prompt": NaN, "completion": "2"}',
        b'{"prompt": "a", "prompt": "b", "completion": "2"}',
        b"\xff",
        b"[]",
        {"prompt": 7, "completion": "2"},
        {"prompt": "?", "completion": 2},
        {"prompt": "?", "completion": {"role": "assistant"}},
        {"messages": '[{"role": "user"'},
        {"messages": [1]},
        {"messages": [user("?"), {"role": ["x"], "content": "y"}]},
        {"messages": [user("?"), say([{"type": "image"}])]},
        {"messages": [user("?"), say("a", reasoning=["x"])]},
        {"messages": [user("?"), say("a", reasoning="x", thinking="y")]},
        {"messages": [user("?"), say("a", weight="much")]},
        {**fine, "weight": 0},
        {**fine, "label": False},
        {**fine, "tools": "[1]"},
        {**fine, "chat_template_kwargs": {"messages x": 1}},
        {"prompt": "\u0000", "completion": "2"},
        fine,
        fine,
    )
    began = time.process_time()
    reading = read_conversations(rows, writer)
    assert time.process_time() - began < 60
    assert reading.origins == [27]
    assert sum(count(reading).values()) == len(rows) - 1
    reasons = count(reading)
    assert reasons["with more than 1,024 messages"] == 2
    assert reasons["that is not JSON: nested deeper than 64 levels"] == 1
    assert reasons["longer than 4,096 tokens"] == 2
    assert reasons["that is not JSON: NaN is not a number"] == 1
    assert reasons["that say what a row before says"] == 1
    assert reasons["with a weight other than 0 and 1"] == 1
    assert all(len(reason) < 120 for reason in reasons)


def test_the_examples_of_a_file_fit_into_memory(open_writer, monkeypatch):
    """A conversation of n answers makes n prompts, each longer than the one before."""
    monkeypatch.setattr(reader, "TOKENS_MAX", 1_000)
    long = {"messages": [one for n in range(40) for one in (user(f"{n}?"), say(f"{n}"))]}
    rows = dump(long, *({"prompt": f"{n}?", "completion": "a"} for n in range(3)))
    reading = read_conversations(rows, open_writer(BARE))
    assert (len(reading.found), reading.origins[-1]) == (40, 1)
    assert count(reading) == {"behind the first 1,000 tokens of the file's examples": 3}
    first_, *_, last = reading.found
    assert first_.prompt[0] is last.prompt[0]


def test_pairs_against_each_other_are_left_out_all(open_writer):
    def prefer(chosen: str, rejected: str) -> dict[str, str]:
        return {"prompt": "?", "chosen": chosen, "rejected": rejected}

    rows = dump(prefer("a", "b"), prefer("c", "d"), prefer("b", "a"), prefer("a", "b"))
    reading = read_pairs([*rows, *dump(prefer("c", "d"))], open_writer(BARE))
    assert reading.origins == [2]
    assert count(reading) == {
        "that prefer what another row rejects": 3,
        "that say what a row before says": 1,
    }


def test_the_first_reader_reads_what_it_read(open_writer):
    """Steps of before are repeated by it: it teaches an empty answer, and drops a thought."""
    writer = open_writer(FULL)
    rows = read_file("calls.jsonl")
    found, left_out = first.read_conversations(rows, writer.tokenizer, writer.ends, MOST)
    assert [writer.tokenizer.spell(one.completion) for one in found] == [
        *("<|im_end|>", "I compute.<|im_end|>", "#### 54<|im_end|>", "#### 8<|im_end|>"),
        *("#### 9<|im_end|>", "#### 45<|im_end|>", "<|im_end|>"),
    ]
    assert sum(left_out.values()) == 4
