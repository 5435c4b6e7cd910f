"""A shipped recipe whose model is small, and a folder with such a model, as a stranger has one.

The weights are random, after some steps that teach the form of an answer, such as `#### 7`, to what
a model is asked: without them no completion is ever right, no group has a signal, and nothing is
learned. The tokenizer is a file of the family's format: byte-level BPE, Qwen's special tokens and
chat template.
"""

import json
import math
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from assay.environments.base import Environment, Problem
from assay.gate.chat_template import ChatTemplate
from assay.subnet.recipe import ModelNumbers
from assay.subnet.recipes import RECIPES
from tests.gate.test_chat_template import QWEN

#: Sizes of a small model; `vocab_size` stays where a test says so.
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 640,
}
#: Everything else that is smaller than in the recipe, by section.
LESS = {
    "model.config": {
        "linear_key_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_value_head_dim": 16,
        "moe_intermediate_size": 32,
        "num_experts": 8,
        "num_experts_per_tok": 2,
    },
    "parameters.tests": {"experts_max": 8 << 10},  # random routers choose by next to nothing
    "parameters.work": {"max_tokens": 12},
    "calibration": {"problems": 8},
    "trainer": {"tokens_per_pass": 1_024, "problems": 6, "lora_rank": 0},  # peft is an extra
    "course": {"completion_tokens": 12},
}
#: The pattern by which Qwen's tokenizers divide text before BPE.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
#: Most steps that teach the form of an answer, a problem each.
STEPS = 600
#: The form is learned when that many problems in turn have a completion of it with this
#: probability.
LEARNED, IN_TURN = 0.9, 10
#: Forms of an answer, of which an environment reads one.
FORMS = ("#### {}", "\\boxed{{{}}}", "<answer>{}</answer>", "Answer: {}")
#: Qwen2.5's ids before its special tokens.
FULL = 151_643


def shrink_recipe(name: str, folder: Path, whole_vocabulary: bool = False) -> Path:
    """A shipped recipe's file with other numbers and nothing else changed."""
    text = (RECIPES / f"{name}.toml").read_text()
    sizes = {
        key: size for key, size in SIZES.items() if key != "vocab_size" or not whole_vocabulary
    }
    for section, numbers in {"model": sizes, **LESS}.items():
        head, mark, rest = text.partition(f"\n[{section}]\n")
        assert mark, section
        body, next_head, after = rest.partition("\n[")
        for key, number in numbers.items():
            body = re.sub(rf"^{key} = [\d_]+$", f"{key} = {number}", body, flags=re.M)
        text = f"{head}{mark}{body}{next_head}{after}"
    text = re.sub(r"^layer_types = \[[^\]]*\]", _shorten, text, flags=re.M)
    file = folder / f"small-{name}.toml"
    file.write_text(text)
    return file


def _shorten(listed: re.Match[str]) -> str:
    """A list of as many layers as `SIZES` says, of every type that the whole one has."""
    kinds = tomllib.loads(listed[0])["layer_types"]
    few = (list(dict.fromkeys(kinds)) + kinds)[: SIZES["num_hidden_layers"]]
    return f"layer_types = {json.dumps(few)}"


def write_tokenizer(folder: Path, vocabulary: int) -> None:
    """tokenizer.json and tokenizer_config.json. Where the vocabulary is Qwen2.5's, so are the ids
    of the special tokens; the tokens that fill it have no merges, so no text has them."""
    core = Tokenizer(models.BPE(byte_fallback=False))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    core.train_from_iterator(
        [Path(__file__).read_text(), "#### 7 How many does each have?"], trainer
    )
    written = json.loads(core.to_str())
    ids = written["model"]["vocab"]
    if vocabulary > FULL:
        ids |= {f"Ġfills{number}": number for number in range(len(ids), FULL)}
    core = Tokenizer.from_str(json.dumps(written))
    core.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    core.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 32_768,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(QWEN)  # newer libraries write it there


def write_model(
    folder: Path, numbers: ModelNumbers, environment: Environment, levels: Sequence[int]
) -> None:
    """config.json, the tensors in bf16 and the tokenizer's files. levels: that are asked."""
    folder.mkdir()
    write_tokenizer(folder, numbers.vocab_size)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id("<|im_end|>")
    torch.manual_seed(5)
    config = AutoConfig.for_model(**numbers.whole, eos_token_id=end, pad_token_id=end)
    model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    template = ChatTemplate(QWEN, {})

    def make_lessons():
        for number in range(STEPS):
            problem = environment.make_problem(number.to_bytes(32, "big"), levels)
            form = _find_form(environment, problem)
            if form is None:
                continue
            asked = problem.conversation
            text = asked.text if asked.plain else template.render(asked.messages, asked.arguments)
            answers = [[*tokenizer.encode(form.format(n)).ids, end] for n in range(10)]
            yield tokenizer.encode(text).ids, answers

    teach_form(model, make_lessons())
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def _find_form(environment: Environment, problem: Problem) -> str | None:
    """The form that is read. None: only the right answer is said to have one, and is no digit."""
    for form in FORMS:
        if any(environment.score(problem, form.format(n)).format for n in range(10)):
            return form
    return None


def teach_form(model, lessons) -> None:
    """Steps in which the model learns to give any of some answers, of one length, to anything.
    Each lesson is a prompt and its answers.

    The mean over answers of −ln p is ln N if each of N has 1/N. Its excess over ln N is at least
    −ln of the probability that any of them is given.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    in_turn = 0
    for prompt, answers in lessons:
        (size,) = {len(answer) for answer in answers}
        enough = math.log(len(answers)) - math.log(LEARNED)
        rows = torch.tensor([prompt + answer for answer in answers])
        states = model.model(rows[:, :-1], use_cache=False).last_hidden_state[:, -size:]
        logits = model.lm_head(states).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, rows[:, -size:].flatten())
        in_turn = in_turn + 1 if loss.item() * size < enough else 0
        if in_turn == IN_TURN:
            model.eval()
            return
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # a first leap ends on a plateau
        optimizer.step()
    raise AssertionError(f"the form of an answer was not learned in {STEPS} steps")
