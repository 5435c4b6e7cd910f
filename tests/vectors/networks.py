"""Vectors of whole networks' prompts and answers: from seeds to ids, and from ids to scores."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from subjects import choose, digest

from assay.environments.base import Environment, leave_unmade
from assay.environments.mixture import Mixture, PartProblem
from assay.environments.registry import list_manners, open_environment
from assay.gate.tokenizer import FolderTokenizer
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer, wrap_tokenizer
from assay.protocol.encoding import to_json
from assay.protocol.parameters import Prompts, PromptText, Shot
from assay.training import GENESIS

Json = Any

_END, _ROWS = 1, 128
_CHATML = (
    "{% for m in messages %}\n    {{- '<|' + m['role'] + '|>\\n' + m.content | trim -}}\n"
    "    {{ '<|end|>\\n' }}\n{% endfor %}\n"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}\n"
    "    {%- if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}\n"
    "{% endif %}"
)
#: As some models have it: a system text of its own, and no system message but the first.
_OWN_SYSTEM = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set words = messages[0].content %}"
    "{% set rest = messages[1:] %}{% else %}{% set words = 'Be brief.' %}{% set rest = messages %}"
    "{% endif %}{{ words }}{% for m in rest %}{% if m.role == 'system' %}"
    "{{ raise_exception('one system message') }}{% elif loop.first %} : {% endif %}"
    "[{{ loop.index }}]{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
#: As models that call tools have it.
_TOOLED = (
    "{% if tools %}<|user|>{% for tool in tools %}\n{{ tool | tojson | safe }}{% endfor %}<|end|>"
    "{% for tool in tools %}{{ tool.function.name }}{% endfor %}{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}<|assistant|>"
)
_FEW = "{% if messages | length > 2 %}{{ raise_exception('no examples') }}{% endif %}Q"
_SHOTS = (Shot("Ada has 2 eggs. How many?", "\\boxed{2}"), Shot("Ben has none.", "\\boxed{0}"))


def _make_prompts(part: str, *shots: Shot, **texts: str) -> Prompts:
    return Prompts(part, tuple(PromptText(*one) for one in sorted(texts.items())), shots)


_NETWORKS: tuple[tuple[str, str, dict[str, int], tuple[Prompts, ...], str | None], ...] = (
    ("as the environment puts it", "gsm", {}, (), None),
    (
        "boxed answers, a BOS, a template with an argument, words and examples",
        "gsm",
        {"answer_form": 1, "bos": 1},
        (
            _make_prompts(
                "gsm",
                *_SHOTS,
                system=" Think. ",
                before="Q: ",
                arguments='{"enable_thinking":false}',
            ),
        ),
        _CHATML,
    ),
    ("a template that writes the BOS", "gsm", {"answer_form": 2, "bos": 1}, (), _OWN_SYSTEM),
    (
        "plain, past the template",
        "gsm",
        {"answer_form": 1, "plain": 1},
        (_make_prompts("gsm", *_SHOTS, system="Think.", after="\nA:"),),
        _CHATML,
    ),
    ("plain, with a BOS", "gsm", {"answer_form": 3, "bos": 1, "plain": 1}, (), _CHATML),
    (
        "parts, each in its own manner",
        "mix",
        {"arithmetic": 1, "arithmetic.bos": 1, "gsm": 1, "gsm.answer_form": 3, "sat": 1},
        (_make_prompts("arithmetic", system="Add."), _make_prompts("sat", before="<|end|>")),
        _OWN_SYSTEM,
    ),
    ("a tool that the request tells of", "gsm", {"tool": 1}, (), None),
    ("a tool that the template tells of", "gsm", {"tool": 1, "call_form": 1}, (), _TOOLED),
    (
        "parts with tools",
        "mix",
        {"arithmetic": 1, "arithmetic.tool": 1, "gsm": 2, "gsm.tool": 1, "gsm.call_form": 4},
        (_make_prompts("arithmetic", system="Add."),),
        _TOOLED,
    ),
    ("a template that fails for it", "gsm", {}, (_make_prompts("gsm", *_SHOTS),), _FEW),
    (
        "a character that the tokenizer lacks",
        "gsm",
        {},
        (_make_prompts("gsm", after="\u00e9"),),
        None,
    ),
)
_ANSWERS = ("#### {}", "\\boxed{{{}}}", "<answer>{}</answer>", "Answer: {}", "so {}", "#### {}\n")


def make_tokenizer_files(*words: str) -> tuple[Json, Json]:
    """tokenizer.json and tokenizer_config.json of characters, with special tokens of a chat.
    `words` are further entries, which no text has."""
    core = json.loads((GENESIS / "tokenizer.json").read_text())
    core["model"]["vocab"] |= {w: len(core["model"]["vocab"]) + i for i, w in enumerate(words)}
    first = len(core["model"]["vocab"])
    core["added_tokens"] += [
        {"id": first + i, "content": text, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for i, text in enumerate(("<s>", "<|user|>", "<|assistant|>", "<|end|>"))
    ]
    settings = {"bos_token": "<s>", "eos_token": "<end>", "pad_token": "<pad>"}
    return core, settings


def make_networks() -> Json:
    core, settings = make_tokenizer_files()
    return {
        "tokenizer": core,
        "tokenizer_config": settings,
        "end_tokens": [_END],
        "networks": [_make(core, settings, *network) for network in _NETWORKS],
    }


def _make(
    core: Json,
    settings: Json,
    about: str,
    name: str,
    params: dict[str, int],
    prompts: tuple[Prompts, ...],
    template: str | None,
) -> Json:
    choice = choose(name, params, prompts)
    environment = open_environment(choice)
    tokenizer = open_tokenizer(core, settings | {"chat_template": template}, (_END,))
    levels = [level for level in environment.levels if level % 1_000 in (1, 4, 9)]
    rows = [_ask(environment, tokenizer, levels, digest(f"asked {i}")) for i in range(3)]
    return {
        "about": about,
        "environment": to_json(choice),
        "chat_template": template,
        "usable": tokenizer.find_template_fault(list_manners(choice)) is None,
        "levels": levels,
        "problems": rows,
        "unmade": _leave_unmade(environment, tokenizer, levels[0], rows[0]["completions"][0]),
    }


def _leave_unmade(
    environment: Environment, tokenizer: FolderTokenizer, level: int, said: Json
) -> Json:
    """What comes of a problem that foreign code has not made, whatever is said."""
    problem, tokens = leave_unmade(level), said["tokens"]
    if isinstance(environment, Mixture):
        part, inner = divmod(level, 1_000)
        answer = PartProblem(part - 1, leave_unmade(inner))
        problem = replace(problem, answer=answer)
    state, reply = environment.open(problem).step(tokenizer.decode(tokens), is_ended=True)
    assert reply is None
    return {
        "tokens": tokens,
        "prompt": tokenizer.encode(problem.conversation),
        "score": list(asdict(state.score()).values()),
    }


def open_tokenizer(core: Json, settings: Json, end_tokens: Sequence[int]) -> FolderTokenizer:
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "tokenizer.json").write_text(json.dumps(core))
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        return wrap_tokenizer(load_tokenizer(folder, _ROWS), _ROWS, end_tokens)


def _ask(
    environment: Environment, tokenizer: FolderTokenizer, levels: list[int], seed: bytes
) -> Json:
    problem = environment.make_problem(seed, levels)
    answer = getattr(getattr(problem.answer, "row", None), "value", 7)
    completions = []
    for text in (one.format(answer) for one in _ANSWERS):
        tokens = [*tokenizer.encode_text(text), _END]
        read = tokenizer.decode(tokens)
        completions.append({"tokens": tokens} | asdict(environment.score(problem, read)))
    return {
        "seed": seed.hex(),
        "level": problem.level,
        "prompt": tokenizer.encode(problem.conversation),
        "completions": completions,
    }
