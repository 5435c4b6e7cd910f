"""Rows, token for token, against TRL's own functions: `maybe_extract_prompt` and
`apply_chat_template`, by templates of TRL's wheel.

TRL also learns what a template writes behind the end token, and cuts the prompt where a template
does not write the answer behind it. Where a template leaves a part out, it learns the rest. These
are the differences; each row is either the same or has one of these reasons.
"""

import json
from datetime import datetime

import pytest
from tokenizers import AddedToken, Tokenizer

from assay.gate.tokenizer import FolderTokenizer
from assay.training.rows.reader import read_conversations, read_pairs
from assay.training.rows.writing import DialogueWriter
from tests.inference.test_replies import make_byte_level
from tests.inference.test_reply_frames import MARKS, TEMPLATES

trl = pytest.importorskip("trl", reason="TRL is of the extra `train`")
from transformers import PreTrainedTokenizerFast  # noqa: E402 - a machine without TRL skips first

#: Template → the end tokens of its models.
ENDS = {
    "qwen2_5": ("<|im_end|>",),
    "qwen3": ("<|im_end|>",),
    "qwen3_instruct_2507": ("<|im_end|>",),
    "llama3_1": ("<|eot_id|>",),
    "gptoss": ("<|return|>", "<|call|>"),
    "glm4moe": ("<|user|>", "<|observation|>"),
    "gemma3": ("<end_of_turn>",),
    "lfm2_2_5": ("<|im_end|>",),
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "python",
            "description": "Runs a program.",
            "parameters": {"type": "object", "properties": {"code": {"type": "string"}}},
        },
    }
]
#: Of 30 conversations those that the template writes whole: llama3_1 and qwen2_5 know no thoughts,
#: llama3_1 one call alone and no text beside it, and gemma3 no calls.
WHOLE = {"qwen2_5": 24, "qwen3_instruct_2507": 24, "llama3_1": 12, "gptoss": 24, "gemma3": 0}
#: Reasons for which a row is left out that TRL reads.
REASONS = "does not write", "refuses"


def user(text):
    return {"role": "user", "content": text}


def say(text, **further):
    return {"role": "assistant", "content": text, **further}


def list_pairs():
    for n in range(6):
        asked, right, wrong = f"What is {n} plus 7?", f"#### {n + 7}", f"#### {n + 8}"
        whole = [[user(asked), say(text)] for text in (right, wrong)]
        system = {"role": "system", "content": f"Be short, {n}."}
        yield {"prompt": asked, "chosen": whole[0], "rejected": whole[1]}
        yield {"chosen": whole[0], "rejected": whole[1]}
        yield {"prompt": [user(asked)], "chosen": [say(right)], "rejected": [say(wrong)]}
        yield {"prompt": asked, "chosen": [system, *whole[0]], "rejected": [system, *whole[1]]}
        more = [user("Hello."), say("Hi.")]
        yield {"chosen": [*more, *whole[0]], "rejected": [*more, *whole[1]]}


def list_calls():
    for n in range(6):
        call = {
            "type": "function",
            "id": "a0000000" + str(n),
            "function": {"name": "python", "arguments": {"code": f"print({n}*7)"}},
        }
        asked = user(f"What is {n} times 7?")
        reply = {
            "role": "tool",
            "name": "python",
            "tool_call_id": call["id"],
            "content": str(n * 7),
        }
        yield {"prompt": [asked], "completion": [say("", tool_calls=[call])], "tools": TOOLS}
        yield {"prompt": [asked], "completion": [say("I compute.", tool_calls=[call])]}
        answered = [asked, say("", tool_calls=[call]), reply]
        yield {"prompt": answered, "completion": [say(f"#### {n * 7}")], "tools": TOOLS}
        thought = say(f"#### {n * 7}", reasoning_content=f"{n} sevens.", thinking=f"{n} sevens.")
        yield {"prompt": [asked], "completion": [thought]}
        yield {"prompt": [asked], "completion": [say("", tool_calls=[call, call])], "tools": TOOLS}


def open_both(name):
    source, ends = (TEMPLATES / f"{name}.jinja").read_text(), ENDS[name]
    made = Tokenizer.from_str(make_byte_level().to_str())
    marks = sorted({*MARKS.findall(source), *ends, "<s>"})
    made.add_special_tokens([AddedToken(mark, normalized=False) for mark in marks])
    special, size = {"eos_token": ends[0], "bos_token": "<s>"}, made.get_vocab_size()
    numbers = [made.token_to_id(end) for end in ends]
    theirs = PreTrainedTokenizerFast(tokenizer_object=made, **special)
    theirs.chat_template = source
    ours = FolderTokenizer(made, special, source, size, numbers)
    return DialogueWriter(ours, numbers, 4_096), theirs


def split(tokenizer, text, prompt, ends):
    """TRL's ids of a text behind those of its prompt, up to the end token. None: no such split."""
    asked, whole = (
        tokenizer(part, add_special_tokens=False)["input_ids"] for part in (prompt, text)
    )
    if whole[: len(asked)] != asked:
        return None
    said = whole[len(asked) :]
    at = next((at for at, token in enumerate(said) if token in ends), None)
    return asked, said if at is None else said[: at + 1]


def compare(theirs, row, ends, answers):
    tools, kept = row.get("tools"), {name: row[name] for name in row if name != "tools"}
    written = trl.apply_chat_template(kept, theirs, tools=tools)
    now = datetime.now().strftime("%Y-%m-%d")  # gpt-oss writes it; here it is a constant
    written = {part: text.replace(now, "2024-07-26") for part, text in written.items()}
    prompt = written["prompt"]
    return [split(theirs, prompt + written[name], prompt, ends) for name in answers]


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize(
    ("rows", "read", "answers"),
    [
        ([*list_pairs()], read_pairs, ("chosen", "rejected")),
        ([*list_calls()], read_conversations, ("completion",)),
    ],
)
def test_rows_are_trls(name, rows, read, answers):
    writer, theirs = open_both(name)
    assert len(rows) == 30
    same = 0
    for row in rows:
        given = read([json.dumps(row).encode()], writer)
        row = trl.maybe_extract_prompt(row)
        if not given.found:
            (reason,) = given.left_out
            assert any(one in reason for one in REASONS), (row, reason)
            continue
        (one,) = given.found[-1:]
        ours = [one] if answers == ("completion",) else [one.chosen, one.rejected]
        for mine, expected in zip(ours, compare(theirs, row, writer.ends, answers), strict=True):
            assert expected is not None
            asked, said = expected
            mine_said = mine.completion
            if said[-1:] and said[-1] not in writer.ends:  # the template closes it with none
                mine_said = mine_said[:-1]
            assert (mine.prompt, mine_said) == (asked, said), row
        same += 1
    assert same == (30 if answers != ("completion",) else WHOLE.get(name, 30))
