"""Frames of replies from people's chat templates, and from templates that have none."""

import importlib.util
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer

from assay.environments.base import Frame, Manner
from assay.environments.tools import TOOLS
from assay.environments.tools.tool import describe_tool
from assay.gate.template_syntax import SOURCE_MAX
from assay.gate.tokenizer import FolderTokenizer
from assay.inference.folder import UnusableCheckpointError
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, wrap_tokenizer
from assay.inference.tokenizing.reply_frames import FoundFrame, choose_frame, find_frames
from assay.protocol.parameters import FRAME_MAX
from tests.inference.test_replies import make_byte_level, make_sentence_piece

TEMPLATES = Path(__file__).parent / "chat_templates"
#: What templates write that is one token: `<|im_end|>`, `</think>`, `[INST]`.
MARKS = re.compile(r"</?[|\uff5c]?[A-Za-z_\u2581|\uff5c]+[|\uff5c]?>|\[/?[A-Z_]+\]")

#: A template → its closers in roles user and tool, then for both whether it is faithful without
#: thoughts and with them; None: there is no frame. As the design of episodes found them.
YES, PLAIN, THOUGHT, NO = (True, True), (True, False), (False, True), (False, False)
TABLE = {
    "qwen2_5": ("<|im_end|>", "<|im_end|>", YES, YES),
    "qwen3_instruct_2507": ("<|im_end|>", "<|im_end|>", YES, YES),
    "qwen3_vl": ("<|im_end|>", "<|im_end|>", YES, YES),
    "llama3_1": ("<|eot_id|>", "<|eot_id|>", YES, YES),
    "llama3_2": ("<|eot_id|>", "<|eot_id|>", YES, YES),
    "qwen3": ("<|im_end|>", "<|im_end|>", NO, THOUGHT),
    "qwen3_5_think": ("<|im_end|>", "<|im_end|>", NO, YES),
    "qwen3_6": ("<|im_end|>", "<|im_end|>", NO, YES),
    "nemotron_3_nano": ("<|im_end|>", "<|im_end|>", NO, THOUGHT),
    "glm4moe": ("<|user|>", "<|observation|>", PLAIN, YES),
    "lfm2_2_5": ("<|im_end|>", "<|im_end|>", PLAIN, YES),
    "gptoss": ("<|end|>", "<|call|>", NO, YES),
    "llama3": ("<|eot_id|>", "<|eot_id|>", YES, None),
    "qwen2_5_vl": ("<|im_end|>", "<|im_end|>", YES, None),
    "gemma": ("<end_of_turn>", "<end_of_turn>", YES, None),
    "gemma3": ("<end_of_turn>", "<end_of_turn>", YES, None),
    "cohere": ("<|END_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", YES, None),
    "cohere2": ("<|END_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", YES, None),
    "lfm2": ("<|im_end|>", "<|im_end|>", YES, None),
    "phi3": ("<|end|>", "<|end|>", NO, None),
    "phi3_5": ("<|end|>", "<|end|>", NO, None),
    "deepseekv3": ("<\uff5cend\u2581of\u2581sentence\uff5c>",) * 2 + (NO, None),
    "idefics3": ("<end_of_utterance>", "<end_of_utterance>", None, None),
    "llava_next": ("<|im_end|>", "<|im_end|>", None, None),
}

#: A template that is faithful in both roles, and its parts.
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTENT = "{{ m.content }}"


@pytest.fixture
def wrap(tmp_path: Path) -> Callable[..., FolderTokenizer]:
    """A tokenizer whose marks are those that a template writes."""

    def open_made(
        source: str,
        ends: Sequence[str] = ("<|im_end|>",),
        make: Callable[[], Tokenizer] = make_byte_level,
    ) -> FolderTokenizer:
        made = Tokenizer.from_str(make().to_str())
        marks = sorted({*MARKS.findall(source), *ends, "<s>"})
        made.add_special_tokens([AddedToken(mark, normalized=False) for mark in marks])
        made.save(str(tmp_path / "tokenizer.json"))
        settings = {"eos_token": ends[0], "bos_token": "<s>", "chat_template": source}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
        size = made.get_vocab_size()
        numbers = [made.token_to_id(end) for end in ends]
        return wrap_tokenizer(load_tokenizer(tmp_path, size), size, numbers)

    return open_made


def find(tokenizer: FolderTokenizer) -> tuple[FoundFrame, FoundFrame]:
    user, tool = find_frames(tokenizer, Manner())
    assert (user.role, tool.role) == ("user", "tool")
    return user, tool


@pytest.mark.parametrize(
    "make", [make_byte_level, lambda: make_sentence_piece("first")], ids=["bytes", "sentence piece"]
)
@pytest.mark.parametrize("name", TABLE)
def test_people_s_templates_have_the_frames_that_the_design_lists(name, make, wrap):
    source = (TEMPLATES / f"{name}.jinja").read_text()
    for place, (closer, wanted) in enumerate(zip(TABLE[name][:2], TABLE[name][2:], strict=True)):
        found = find(wrap(source, [closer], make))[place]
        if wanted is None:
            assert found.frame is None
            assert found.fault
        else:
            assert found.frame is not None, found.fault
            assert tuple(one is None for one in found.differs) == wanted, found
            assert ("differs" in found.verdict) == (wanted != YES)


#: End tokens that models of TRL's templates have, as their files on the Hub say.
ENDS = (
    *("<|im_end|>", "<|eot_id|>", "<|eot|>", "<end_of_turn>", "<turn|>", "<|tool_response>"),
    *("<|end|>", "<|call|>", "<|user|>", "<|observation|>", "<|END_OF_TURN_TOKEN|>"),
    *("<end_of_utterance>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
)


@pytest.mark.slow
def test_trl_s_templates_have_frames_as_often_as_the_owners_page_says(wrap):
    """All templates of TRL 1.16.0: in how many each role has a frame, and a faithful one."""
    spec = importlib.util.find_spec("trl")
    if spec is None or version("trl") != "1.16.0":
        pytest.skip("TRL 1.16.0 is of the extra `train`")
    counted, folder = Counter(), Path(spec.submodule_search_locations[0]) / "chat_templates"
    for path in folder.glob("*.jinja"):
        counted["templates"] += 1
        source, found = path.read_text(), {}
        for end in (one for one in ENDS if one in source):
            for one in find(wrap(source, [end])):
                if one.frame is not None and one.role not in found:
                    found[one.role] = one
        counted["frame"] += bool(found)
        for role, one in found.items():
            counted[role] += 1
            counted[role, "faithful"] += one.differs[0] is None
        counted["faithful"] += any(None in one.differs for one in found.values())
    assert counted == {
        "templates": 72,
        "frame": 66,
        "user": 66,
        ("user", "faithful"): 44,
        "tool": 44,
        ("tool", "faithful"): 35,
        "faithful": 58,
    }


def test_frames_are_those_that_people_know(wrap):
    user, tool = find(wrap((TEMPLATES / "qwen2_5.jinja").read_text()))
    after = "<|im_end|>\n<|im_start|>assistant\n"
    assert user.frame == Frame("\n<|im_start|>user\n", after)
    within = "\n<|im_start|>user\n<tool_response>\n"
    assert tool.frame == Frame(within, f"\n</tool_response>{after}")
    user, tool = find(wrap((TEMPLATES / "llama3_1.jinja").read_text(), ["<|eot_id|>"]))
    head = "<|start_header_id|>{}<|end_header_id|>\n\n"
    after = f"<|eot_id|>{head.format('assistant')}"
    assert user.frame == Frame(head.format("user"), after)
    assert tool.frame == Frame(head.format("ipython"), after, as_json=True)
    assert user.verdict == "faithful; the template drops the line break at a reply's end"
    assert tool.verdict == "faithful"


def test_the_role_that_is_most_faithful_is_chosen(wrap):
    for name, role in (("qwen2_5", "user"), ("qwen3", "tool"), ("lfm2_2_5", "tool")):
        chosen = choose_frame(find(wrap((TEMPLATES / f"{name}.jinja").read_text())), Manner())
        assert chosen is not None
        assert chosen.role == role
    assert choose_frame(find(wrap("{{ raise_exception('no') }}")), Manner()) is None


def test_a_model_that_is_told_of_a_tool_has_replies_in_its_role(wrap):
    """Of equals the role user is chosen, but not where the model calls a tool as it learned to."""
    manner = Manner(tools=describe_tool(TOOLS["calculator"]))
    tokenizer = wrap((TEMPLATES / "qwen2_5.jinja").read_text())
    chosen = choose_frame(find_frames(tokenizer, manner), manner)
    assert chosen is not None
    assert (chosen.role, chosen.verdict) == ("tool", "faithful")


def test_a_closer_that_is_not_the_first_end_token_is_named(wrap):
    source = (TEMPLATES / "llama3_1.jinja").read_text()
    found = find(wrap(source, ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"]))
    for one in found:
        assert (one.frame, one.closer) == (None, "<|eot_id|>")
        assert one.fault == (
            'it closes a turn with "<|eot_id|>", which is not the model\'s first end token'
        )


@pytest.mark.parametrize(
    ("source", "user", "tool"),
    [
        (CHATML, "", ""),
        ("{{ raise_exception('\x1b[2J no') }}", "it fails for a conversation with role user", None),
        (
            "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no') }}{% endif %}"
            f"{{% endfor %}}{CHATML}",
            "",
            "it fails for a conversation with role tool",
        ),
        (CHATML.replace(CONTENT, "{{ m.content | upper }}"), "it drops or changes a reply", None),
        (CHATML.replace(CONTENT, "{{ m.content[:9] }}"), "it drops or changes a reply", None),
        (CHATML.replace(CONTENT, CONTENT * 2), "it writes a reply twice", None),
        (
            CHATML.replace(CONTENT, "{{ m.content }}{{ 'x' if m.content | length > 50 }}"),
            "what it writes around a reply depends on the reply's text",
            None,
        ),
        (
            CHATML.replace(CONTENT, "{{ loop.index0 // 10 }}{{ m.content }}"),
            "what it writes around a reply depends on the turn's number",
            None,
        ),
        (
            CHATML.replace(CONTENT, "{{ messages[0].content | length }}{{ m.content }}"),
            "what it writes around a reply depends on the question",
            None,
        ),
        (
            CHATML.replace(
                CONTENT, "{{ m.content | tojson if '\\n' in m.content else m.content }}"
            ),
            "it writes some replies as JSON and others not",
            None,
        ),
        (CHATML.replace("<|im_end|>", "."), "it writes no end token of the model", None),
        (
            CHATML.replace(CONTENT, f"{'x' * (FRAME_MAX - 16)}{CONTENT}"),
            f"it writes more than {FRAME_MAX} bytes",
            None,
        ),
        (
            CHATML.replace(CONTENT, f"{{{{ 'x' * {1 << 16} }}}}{CONTENT}"),
            f"it writes more than {1 << 16} characters",
            None,
        ),
    ],
)
def test_a_template_without_a_constant_frame_is_told_so(source, user, tool, wrap):
    """In our own words alone."""
    for found, wanted in zip(find(wrap(source)), (user, tool), strict=True):
        if wanted == "":
            assert found.frame is not None
        elif wanted is not None:
            assert found.frame is None
            assert found.fault.startswith(wanted)
        assert found.verdict.isascii()
        assert found.verdict.isprintable()


def test_ids_that_differ_within_the_whole_text_are_told(wrap):
    """A mark of the tokenizer begins in the frame and ends behind it."""
    source = CHATML.replace(CONTENT, "<|{{ m.content }}")
    made = make_byte_level()

    def make() -> Tokenizer:
        other = Tokenizer.from_str(made.to_str())
        other.add_special_tokens([AddedToken("<|R7r", normalized=False)])
        return other

    assert find(wrap(source))[0].frame is not None
    assert find(wrap(source, make=make))[0].fault.startswith("its tokenizer gives a reply other id")


def test_what_differs_is_quoted_without_control_characters(wrap):
    source = CHATML.replace(
        CONTENT, "{{ m.content }}{{ '\x1b\u202e' if m.role == 'assistant' and not loop.last }}"
    )
    user, _ = find(wrap(source))
    assert user.verdict.startswith("differs: after reply 1 it writes ")
    assert "\\u001b\\u202e" in user.verdict
    assert user.verdict.replace("\u2026", "").isascii()
    assert user.verdict.isprintable()


def test_a_template_of_a_megabyte_is_refused(wrap):
    with pytest.raises(UnusableCheckpointError, match=f"at most {SOURCE_MAX} characters"):
        wrap(f"{CHATML}{'x' * (1 << 20)}")


def test_the_owner_s_system_text_and_arguments_are_used(wrap):
    source = CHATML.replace(CONTENT, "{{ 1 // level }}{{ m.content }}")
    tokenizer = wrap(source)
    assert find_frames(tokenizer, Manner())[0].frame is None
    found = find_frames(tokenizer, Manner(arguments=(("level", 2),)))
    assert found[0].frame == Frame("\n<|im_start|>user\n0", "<|im_end|>\n<|im_start|>assistant\n")
