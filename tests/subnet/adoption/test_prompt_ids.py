"""The prompt ids of adopted models are those that their own programs ask with.

For a folder transformers is the oracle: `apply_chat_template`, or the tokenizer itself where there
is no template. A GGUF file is made for llama.cpp, whose rule stands here, over transformers' ids of
the texts between special tokens:

- `common/chat.cpp`, `common_chat_template_direct_apply_impl`: of what a template writes, the BOS
  token at the beginning is taken off if the file adds one (`llama_vocab_get_add_bos`).
- `src/llama-vocab.cpp`, `llama_vocab::impl::tokenize`: with `add_special`, as all its programs ask,
  the BOS token comes first if the file adds one. Pieces of SentencePiece begin each text with a
  space, behind special tokens too, if `add_space_prefix` says so.
- `llama_vocab::impl::load`: where a file does not say it, pieces of SentencePiece have both, and
  byte-level tokens a BOS token for the names of splits like Llama 3's.

Read in the repository ggml-org/llama.cpp as of October 2026. Its server (PyPI `xllamacpp`
2026.10.11549) gave the same ids as Assay for these pairs and conversations, except where a
template writes a date, of which Assay has one, and of `idefics3` and `llava_next`, which lose a
question that is one text: to them llama.cpp gives it as a part of a message.
"""

from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

from assay.environments.base import Conversation, Message
from assay.gate.tokenizer import FolderTokenizer
from assay.inference.folder import read_document
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, make_tokenizer
from assay.subnet.adoption.adopt import Adoption, adopt_model, find_unadopted
from tests.subnet.adoption.text_pairs import PAIRS, SHAPES, Pair, write_pair, write_pair_gguf

NEEDS_GGUF = pytest.mark.skipif(find_spec("gguf") is None, reason="needs the extra `gguf`")
_QUESTION = "Ada counts 5 apples and adds 37.\n\nHow many?  Isn't it 42 \u4f60\u597d?\n"
#: Roles and texts, from which a template takes what it allows.
CONVERSATIONS = (
    (("user", _QUESTION),),
    (("user", " spaces before, \tand a tab"),),
    (("system", "Think.\nThen answer."), ("user", _QUESTION)),
    (("user", "1+1?"), ("assistant", "It is 2."), ("user", "And 12+30?")),
)


class _Then(datetime):
    """The date on which every template is rendered here."""

    @classmethod
    def now(cls, tz: Any = None) -> "_Then":
        return cls(2024, 7, 26)


@pytest.fixture(autouse=True)
def _that_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template_utils, "datetime", _Then)


def open_adopted(folder: Path, adoption: Adoption) -> FolderTokenizer:
    """The tokenizer of an adopted folder, as a checkpoint opens it."""
    size = read_document(folder, "config.json")["vocab_size"]
    return make_tokenizer(folder, load_tokenizer(folder, size), size, adoption.end_tokens)


def iterate_asked(
    theirs: Any, ours: FolderTokenizer
) -> Iterator[tuple[Conversation, list[dict[str, str]], str | None]]:
    """The conversations that a template takes, as both put them, and what it writes."""
    count = 0
    for said in CONVERSATIONS:
        asked = Conversation(tuple(Message(role, text) for role, text in said))
        messages = [{"role": role, "content": text} for role, text in said]
        written = None
        if theirs.chat_template is not None:
            try:
                written = theirs.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
            except TemplateError:
                with pytest.raises(ValueError, match="the chat template"):
                    ours.encode_strictly(asked)
                continue
        yield asked, messages, written
        count += 1
    assert count >= 2


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.shape}, {pair.name or 'none'}")
def test_a_folder_s_prompts_are_those_of_transformers(tmp_path: Path, pair: Pair) -> None:
    source, out = write_pair(tmp_path / "source", pair), tmp_path / "out"
    adoption = adopt_model(source, out, probes=False)
    ours, theirs = open_adopted(out, adoption), AutoTokenizer.from_pretrained(source)
    for asked, messages, written in iterate_asked(theirs, ours):
        if written is None:
            wanted = theirs(asked.text)["input_ids"]
        else:
            wanted = theirs.apply_chat_template(
                messages, add_generation_prompt=True, return_dict=False
            )
        assert ours.encode_strictly(asked) == wanted
    assert pair.closer in [text for _, text in adoption.texts.ends]
    assert find_unadopted(out) is None


@NEEDS_GGUF
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.shape}, {pair.name or 'none'}")
def test_a_gguf_file_s_prompts_are_those_of_llama_cpp(tmp_path: Path, pair: Pair) -> None:
    theirs = AutoTokenizer.from_pretrained(write_pair(tmp_path / "source", pair))
    out, shape = tmp_path / "out", SHAPES[pair.shape]
    adoption = adopt_model(write_pair_gguf(tmp_path / "m.gguf", pair), out, probes=False)
    ours = open_adopted(out, adoption)
    for asked, _, written in iterate_asked(theirs, ours):
        text, first = asked.text if written is None else written, []
        if shape.adds:
            assert shape.first is not None
            text = text.removeprefix(shape.first)
            first = [theirs.convert_tokens_to_ids(shape.first)]
        wanted = first + theirs.encode(text, add_special_tokens=False)
        assert ours.encode_strictly(asked) == wanted
    assert ours.adds_bos == shape.adds
    assert pair.closer in [text for _, text in adoption.texts.ends]
    assert find_unadopted(out) is None
