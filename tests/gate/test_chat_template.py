"""Templates render as Hugging Face renders them, alike everywhere, and end nobody's program."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from assay.environments.base import ask
from assay.environments.tools import TOOLS
from assay.environments.tools.tool import describe_tool
from assay.gate.chat_template import ChatTemplate
from assay.inference.checkpoint import load_outline
from assay.inference.folder import UnusableCheckpointError, digest_tokenizer
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, make_tokenizer
from assay.protocol.encoding import from_json, to_json
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import Manifest
from assay.training import GENESIS
from tests.hostile_folders import change_manifest, name_another_template

#: A shortened template in the style of Qwen2.5, Llama 3.1 and Mistral.
QWEN = """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if tools %}{{- tools | tojson }}{% endif %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{{- "Today Date: " + date_string + "\\n" }}
{%- for message in messages %}
    {%- if message.role == 'ipython' %}{% continue %}{% endif %}
    {{- '<|start|>' + message['role'] + '<|end|>\\n' + message['content'] | trim + '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant<|end|>\\n' }}{%- endif %}"""
MISTRAL = """{{ bos_token }}{% for message in messages %}
{% if message['role'] != 'user' %}{{ raise_exception('only users') }}{% endif %}
{{ '[INST] ' + message['content'] + ' [/INST]' }}{{ message | tojson }}
{% endfor %}"""
#: Templates for fine-tuning mark the model's text like this, and write tools.
MARKED = """{% for message in messages %}{{ message['content'] }}
{% generation %}{{ message['role'] }}{% endgeneration %}
{{ message | tojson(indent=1, sort_keys=true, ensure_ascii=true, separators=(',', ':')) }}
{% endfor %}"""
PROMPT = "7+15=?\n<&> é"


@pytest.mark.parametrize(
    "source", [QWEN, LLAMA, MISTRAL, MARKED], ids=["qwen", "llama", "mistral", "marked"]
)
def test_a_template_renders_as_hugging_face_renders_it(source: str) -> None:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(GENESIS / "tokenizer.json"), bos_token="<s>", chat_template=source
    )
    message = {"role": "user", "content": PROMPT}
    expected = tokenizer.apply_chat_template(
        [message], add_generation_prompt=True, tokenize=False, return_dict=False
    )
    rendered = ChatTemplate(source, tokenizer.special_tokens_map).render(ask(PROMPT).messages)
    assert rendered == expected
    assert PROMPT.strip() in rendered


def test_a_template_is_told_of_tools_as_hugging_face_tells_it() -> None:
    source = QWEN + "{% for tool in tools or [] %}{{ tool | tojson | safe }}{% endfor %}"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(GENESIS / "tokenizer.json"), chat_template=source
    )
    tools = describe_tool(TOOLS["calculator"])
    expected = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPT}],
        tools=json.loads(tools),
        add_generation_prompt=True,
        tokenize=False,
        return_dict=False,
    )
    template = ChatTemplate(source, {})
    assert template.render(ask(PROMPT).messages, tools=tools) == expected
    assert tools in expected
    assert template.render(ask(PROMPT).messages) != expected


def test_a_clock_tells_one_day_to_all() -> None:
    template = ChatTemplate("{{ strftime_now('%d %b %Y %H:%M') }}", {})
    assert template.render(ask("x").messages) == "26 Jul 2024 00:00"


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('no') }}",
        "{{ 1 // 0 }}",
        "{{ undefined.attribute }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].__class__.__mro__ }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{{ lipsum() }}",
        "{{ ['a', 'b'] | map('ran' ~ 'dom') | list }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 'x' %}",
        "{{ ({'a': 1, 'b': 2}.keys() - {}.keys()) | list }}",
        "{{ strftime_now('%s') }}",
        "{{ strftime_now('%10s') }}",
        "{{ strftime_now('%-s') }}",
        "{{ strftime_now('%Es') }}",
        "{{ strftime_now('%c') }}",
        "{{ strftime_now('%') }}",
        '{{ "\\ud800" }}',
    ],
)
def test_a_template_that_fails_does_so_for_everybody(source: str) -> None:
    with pytest.raises(ValueError, match="chat template"):
        ChatTemplate(source, {}).render(ask("7+15=?").messages)


@pytest.mark.parametrize(
    "source",
    ["{{ broken", "{% endif %}", "{{ x | random }}", "{{ x | no_such }}", "{{ " + "(" * 9_999],
    ids=range(5),
)
def test_a_template_that_does_not_compile_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="chat template"):
        ChatTemplate(source, {})


#: Templates at a bound each, and what they make.
AT_THE_BOUNDS = {
    "brackets": ("{{ " + "(not " * 11 + "1" + ")" * 11 + " }}", "False"),
    "prefixes": ("{{ " + "not " * 32 + "1 }}", "True"),
    "tags": (
        "{% if 1 %}" * 16 + "{{ " + "(" * 12 + "1" + ")" * 12 + " }}" + "{% endif %}" * 16,
        "1",
    ),
    "loops": ("{% for i in [1] %}" * 16 + "{{ loop.index }}" + "{% endfor %}" * 16, "1"),
    "levels": ("{{ " + "1 + " * 60 + "1 }}", "61"),
    "branches": ("{% if 0 %}" + "{% elif 0 %}" * 62 + "{% else %}x{% endif %}", "x"),
    "calls": (
        "{% macro f(n) %}{% for i in [1] %}{% if n %}{{ f(n - 1) }}{% endif %}{% endfor %}"
        "{% endmacro %}{{ f(15) }}x",
        "x",
    ),
}


def go_down(levels: int, call: Callable[[], str]) -> str:
    """Call with so many more levels of the stack in use."""
    return go_down(levels - 1, call) if levels else call()


@pytest.mark.parametrize("name", AT_THE_BOUNDS)
def test_a_template_at_a_bound_needs_little_of_the_stack(name: str) -> None:
    """The same in a process whose stack is half full: the bounds are what decides."""
    source, expected = AT_THE_BOUNDS[name]
    assert go_down(500, lambda: ChatTemplate(source, {}).render(ask(PROMPT).messages)) == expected
    assert ChatTemplate(source, {}).render(ask(PROMPT).messages) == expected


def test_every_end_token_is_left_out_of_a_completion() -> None:
    """A model may end its turn with any of a manifest's: none of them is part of the answer."""
    plain = load_outline(GENESIS).tokenizer
    vocabulary, answer = len(plain.drawable), plain.encode(ask("#### 10"))
    ends = tuple(id_ for id_ in range(vocabulary) if plain.drawable[id_] and id_ not in answer)[:3]
    tokenizer = make_tokenizer(GENESIS, load_tokenizer(GENESIS, vocabulary), vocabulary, ends)
    assert len({tokenizer.decode([*answer, end]) for end in ends}) == 1
    assert tokenizer.decode([*answer, ends[1]]) == "#### 10"
    assert plain.decode([*answer, ends[1]]) != "#### 10"


@pytest.fixture
def write_checkpoint(tmp_path: Path) -> Callable[..., bytes]:
    """Writes a checkpoint with another tokenizer into `tmp_path`; its digest."""

    def write(**changes: Any) -> bytes:
        shutil.copytree(GENESIS, tmp_path, dirs_exist_ok=True)
        path = tmp_path / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        manifest = from_json(Manifest, json.loads((tmp_path / "manifest.json").read_text()))
        manifest = replace(manifest, tokenizer=digest_tokenizer(tmp_path))
        template = changes.get("chat_template")
        if isinstance(template, str):
            digest = hash_fields(Domain.CHAT_TEMPLATE, template.encode())
            manifest = replace(manifest, chat_template=digest)
        (tmp_path / "manifest.json").write_text(json.dumps(to_json(manifest)))
        return manifest.digest

    return write


def test_a_checkpoint_asks_by_its_template(tmp_path, write_checkpoint) -> None:
    digest = write_checkpoint(chat_template="{% for m in messages %}{{ m.content }}={% endfor %}")
    plain = load_outline(GENESIS).tokenizer
    asked = load_outline(tmp_path, digest).tokenizer
    assert asked.encode(ask("7+15")) == plain.encode(ask("7+15="))


def test_an_empty_template_is_none(tmp_path, write_checkpoint) -> None:
    """By an empty text every problem would have been asked as one token."""
    write_checkpoint(chat_template="")
    genesis = from_json(Manifest, json.loads((GENESIS / "manifest.json").read_text()))
    digest = change_manifest(tmp_path, chat_template=genesis.chat_template)
    plain, empty = (load_outline(*at).tokenizer for at in ((GENESIS,), (tmp_path, digest)))
    assert empty.encode(ask("7+15=?")) == plain.encode(ask("7+15=?")) != [0]
    assert not empty.has_template


@pytest.mark.parametrize("template", ["", "x", "{{ messages[0].content }}"])
@pytest.mark.parametrize("named", [None, "y"])
def test_a_manifest_names_its_files_template(tmp_path, write_checkpoint, template, named) -> None:
    """Every byte is as its digest says, so that no other copy would be better."""
    write_checkpoint(chat_template=template)
    digest = name_another_template(tmp_path, named)
    if not template and named is None:
        load_outline(tmp_path, digest)
        return
    with pytest.raises(UnusableCheckpointError, match="the digest of the template"):
        load_outline(tmp_path, digest)


def test_a_prompt_that_is_nothing_is_one_id(tmp_path, write_checkpoint) -> None:
    digest = write_checkpoint(chat_template="{% if 0 %}x{% endif %}")
    assert load_outline(tmp_path, digest).tokenizer.encode(ask("7+15=?")) == [0]


def test_a_prompt_that_the_tokenizer_refuses_is_one_id(tmp_path, write_checkpoint) -> None:
    """The genesis tokenizer knows 93 characters and has no id for the others."""
    tokenizer = load_outline(tmp_path, write_checkpoint(chat_template="É")).tokenizer
    assert tokenizer.encode(ask("7+15=?")) == [0]
    with pytest.raises(ValueError, match="cannot write 'É'"):
        tokenizer.encode_strictly(ask("7+15=?"))


def test_a_prompt_that_the_template_refuses_is_one_id(tmp_path, write_checkpoint) -> None:
    template = "{% if '8' in messages[0].content %}{{ raise_exception('no') }}{% endif %}7"
    tokenizer = load_outline(tmp_path, write_checkpoint(chat_template=template)).tokenizer
    assert tokenizer.encode(ask("8+15=?")) == [0]
    assert tokenizer.encode(ask("9+15=?")) == load_outline(GENESIS).tokenizer.encode(ask("7"))
    with pytest.raises(ValueError, match="TemplateError: no"):
        tokenizer.encode_strictly(ask("8+15=?"))


@pytest.mark.parametrize(
    "template", [[{"name": "default", "template": "x"}], {"default": "x"}, 5, "{{ broken"], ids=str
)
def test_a_checkpoint_whose_template_is_none_is_of_no_use(
    tmp_path, write_checkpoint, template: Any
) -> None:
    digest = write_checkpoint(chat_template=template)
    with pytest.raises(UnusableCheckpointError, match=r"chat.template"):
        load_outline(tmp_path, digest)


@pytest.mark.parametrize(
    ("id_", "said"),
    [("98", "'98' of added_tokens_decoder is not an id"), ("5", "has id 98, the model has 98 ids")],
)
def test_a_tokenizer_with_more_ids_than_the_model_is_of_no_use(
    tmp_path, write_checkpoint, id_: str, said: str
) -> None:
    """A prompt with such an id would end every program that reads it. The library gives added
    tokens the next ids, whatever the file says."""
    added = {"content": "<more>", "lstrip": False, "normalized": False, "rstrip": False}
    more = {id_: {**added, "single_word": False, "special": True}}
    digest = write_checkpoint(added_tokens_decoder=more)
    with pytest.raises(UnusableCheckpointError, match=said):
        load_outline(tmp_path, digest)


@pytest.mark.parametrize(
    "change",
    [{"model_max_length": "x"}, {"model_input_names": None}, {"model_max_length": 1}],
    ids=str,
)
def test_other_files_beside_the_tokenizer_change_nothing(
    tmp_path, write_checkpoint, change: dict[str, Any]
) -> None:
    """The library's wrapper died of the first two, with every program that had read the file."""
    digest = write_checkpoint(**change)
    asked, plain = load_outline(tmp_path, digest).tokenizer, load_outline(GENESIS).tokenizer
    ids = plain.encode(ask("7+15=?\n"))
    assert asked.encode(ask("7+15=?\n")) == ids
    assert asked.decode(ids) == plain.decode(ids) == "7+15=?\n"
