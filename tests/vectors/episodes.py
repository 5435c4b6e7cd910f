"""Vectors of episodes: worlds and their replies, replies as ids, and whole replays."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from networks import make_tokenizer_files, open_tokenizer
from problems import describe
from subjects import choose, digest

from assay.environments.base import Environment, Frame, Problem
from assay.environments.registry import make_environment, open_environment
from assay.environments.worlds.errands import write_commands
from assay.environments.worlds.guessing import Secret
from assay.environments.worlds.rooms import COMMANDS_MAX
from assay.environments.worlds.world import compute_proof
from assay.gate.tokenizer import FolderTokenizer
from assay.protocol.encoding import to_json
from assay.protocol.episode import weave
from assay.protocol.parameters import Prompts, PromptText
from assay.verification.episodes import EpisodeRules, begin_episode, replay
from assay.verification.replies import cut_reply, is_mark, make_defuser

Json = Any

_END, _TURN_END = 1, 101
_CALL = "so\ncalculator: (3+4)*12/5"
_HERMES = '<tool_call>{"name": "calculator", "arguments": {"expression": "1/3"}}</tool_call>'


def make_episodes() -> Json:
    core, settings = make_tokenizer_files()
    stop, _ = make_tokenizer_files("<stop>")  # an end token that is not read back from its text
    tokenizers = [core, stop]
    return {
        "worlds": [_make_world(name) for name in ("codes", "guess", "rooms")],
        "contents": list(_iterate_contents()),
        "tokenizers": tokenizers,
        "tokenizer_config": settings,
        "replies": list(_iterate_replies(tokenizers, settings)),
        "replays": list(_iterate_replays(core, settings)),
    }


def _make_world(name: str) -> Json:
    environment: Any = make_environment(name, {})
    levels = list(environment.levels)
    problems = [
        describe(environment, some, seed, environment.make_problem(seed, some))
        for some in ([1], levels)
        for seed in (digest(f"problem {i}") for i in range(4))
    ]
    turns = {
        "guess": ["0", "9", "so\n5", "5.", "", "50", "#### 50\n", "4999"],
        "codes": ["00", "12", "so\n10", "1O", "", "0123", "#### 2200\n", "no 0 1", "5432"],
        "rooms": [
            "",
            "so\r north",
            "take",
            "put east",
            "go",
            "west  west",
            "south\nwest west take ",
        ],
    }[name]
    return {
        "name": name,
        "digest": environment.digest.hex(),
        "proof": compute_proof(environment).hex(),
        "problems": problems,
        "episodes": [_play(environment, level, turns) for level in levels],
    }


def _play(environment: Environment, level: int, turns: list[str]) -> Json:
    """An episode that ends with the secret, if it is not over before."""
    seed = digest(f"played {level}")
    problem = environment.make_problem(seed, [level])
    state, said = environment.open(problem), []
    for turn in (*turns, *_solve(problem)):
        state, reply = state.step(turn, is_ended=True)
        said.append({"turn": turn, "reply": reply} | asdict(state.score()))
        if reply is None:
            break
    return {"levels": [level], "seed": seed.hex(), "turns": said}


def _solve(problem: Problem) -> list[str]:
    """The turns that end an episode, if it goes on from its start."""
    if isinstance(problem.answer, Secret):
        return [f"now {problem.answer.text} "]
    way = write_commands(problem).removeprefix("#### ").split(" ")
    return [" ".join(way[i : i + COMMANDS_MAX]) for i in range(0, len(way), COMMANDS_MAX)]


def _iterate_contents() -> Iterator[Json]:
    """Contents as UTF-16, which has surrogates, and the text that a tokenizer sees of them."""
    added = ["<|end|>", "<|", "|>", " ", "\n\n", "|", "<end>", "<|end|><|end|>", "<0x0A>", "<0x0a>"]
    for about, content, most, is_json in (
        ("as it is", "higher\n", 64, False),
        ("nothing", "", 64, False),
        ("as many bytes as fit", "abcd", 4, False),
        ("a byte more", "abcde", 4, False),
        ("a character that does not fit", "ab\u20ac", 4, False),
        ("a cut between two of four bytes", "\U0001f600\U0001f601", 6, False),
        ("lone surrogates", "a\ud800b\udc00\U0001f600", 64, False),
        ("lone surrogates that do not fit", "\ud800\ud800", 5, False),
        ("an added token", "so <end> it ends", 64, False),
        ("one within another", "<|end|>", 64, False),
        ("one after the other", "<|end|><|end|>", 64, False),
        ("one that a cut leaves", "abc<end>", 6, False),
        ("one character and white space stay", "| \n\n|", 64, False),
        ("a byte, and what is none", "<0x0A><0x0a>", 64, False),
        ("JSON", 'a "b" \\ \n\t\x00\x1f\x7f\u2028\u00e9<end>', 64, True),
        ("JSON of a cut text", "ab\ncd", 3, True),
    ):
        text = make_defuser(text for text in added if is_mark(text, None))(cut_reply(content, most))
        yield {
            "about": about,
            "utf16": content.encode("utf-16-be", "surrogatepass").hex(),
            "reply_bytes": most,
            "added": added,
            "json": is_json,
            "text": json.dumps(text, ensure_ascii=False) if is_json else text,
        }


def _iterate_replies(tokenizers: list[Json], settings: Json) -> Iterator[Json]:
    stop = tokenizers[1]["model"]["vocab"]["<stop>"]
    chat = Frame("\n<|user|>\n", "<|end|>\n<|assistant|>\n", as_json=True)
    split = Frame("<|us", "nd|>")
    for about, number, ends, frame, content in (
        ("no frame", 0, (_END,), Frame(), "higher\n"),
        ("a frame of special tokens", 0, (_TURN_END, _END), chat, 'say "higher"\n'),
        ("an echo of them", 0, (_TURN_END,), chat, "<|end|>\n<|assistant|>\n<|end|>"),
        ("a longer one than allowed", 0, (_END,), Frame("\n"), "x" * 99),
        ("a first end token that is a character", 0, (2, _END), Frame("\n", "\n"), "higher"),
        ("one that is not read back", 1, (stop, _END), Frame("<", "\n"), "higher"),
        ("a character that the tokenizer lacks", 0, (_END,), Frame(), "h\u00e9"),
        ("one in the frame", 0, (_END,), Frame("\u00e9"), "higher"),
        ("nothing", 0, (_END,), Frame(), ""),
        ("a special token that frame and content make", 0, (_END,), split, "er|> <|e"),
        ("a frame that is one around nothing", 0, (_END,), Frame("<|e", "nd|>"), "higher"),
    ):
        tokenizer = open_tokenizer(tokenizers[number], settings, ends)
        yield {
            "about": about,
            "tokenizer": number,
            "end_tokens": list(ends),
            "frame": asdict(frame),
            "reply_bytes": 40,
            "content": content,
            "ids": tokenizer.encode_reply(content, frame, 40),
        }


def _frame(part: str, **texts: str) -> Prompts:
    return Prompts(part, tuple(PromptText(*one) for one in sorted(texts.items())), ())


def _iterate_replays(core: Json, settings: Json) -> Iterator[Json]:
    """Rollouts of one turn after the other, as texts, each with its end: "" where it is cut."""
    ends = (_END, _TURN_END)
    tokenizer = open_tokenizer(core, settings, ends)
    chat = (_frame("guess", reply_before="\n<|user|>", reply_after="<|assistant|>"),)
    strange = (_frame("codes", reply_after="\u00e9"),)
    mix = {"arithmetic": 1, "guess": 1}
    end, other = "<end>", "<|end|>"
    wide, narrow, long = (8, 400, 64, 60), (8, 190, 64, 60), (8, 900, 64, 120)
    wrong = [(_HERMES.replace("}", ""), end), ("#### 1", end)]
    found = [("4", end), ("no", other), (None, end)]
    for about, name, params, prompts, level, rules, said in (
        ("found", "guess", {}, chat, 1, wide, found),
        ("found, and more", "guess", {}, chat, 1, wide, [(None, end), ("4", end)]),
        ("cut", "guess", {}, (), 4, (8, 400, 64, 12), [("50", end), ("so I say", "")]),
        ("as many turns as may be", "guess", {}, chat, 5, (2, 400, 64, 60), [("1", end)] * 2),
        ("the world wants no more", "guess", {}, (), 1, wide, [("x", end)] * 4),
        ("as many tokens", "guess", {}, (), 4, (8, 400, 64, 4), [("5", end), ("7", other)]),
        ("no room for the reply", "guess", {}, chat, 5, narrow, [("1", end)] * 3),
        ("a reply that nobody reads", "codes", {}, strange, 2, wide, [("x", end)]),
        ("the world goes on", "codes", {}, (), 3, (8, 600, 64, 60), [("000", end), ("111", end)]),
        ("a cut reply", "codes", {}, (), 3, (3, 600, 5, 60), [("000", end)] * 3),
        ("one turn", "guess", {}, (), 1, (1, 0, 0, 60), [(None, other)]),
        (
            "a part of a mixture",
            "mix",
            mix,
            chat,
            2_001,
            wide,
            [("0", end), ("9", end), (None, end)],
        ),
        ("a part of one turn", "mix", mix, chat, 1_001, wide, [("#### 1", end)]),
        (
            "calls",
            "gsm",
            {"tool": 1},
            (),
            2,
            long,
            [(_CALL, end), ("calculator: 1/0", end), ("#### 9", end)],
        ),
        ("a call at the end", "gsm", {"tool": 1}, (), 2, (2, 900, 64, 120), [(_CALL, end)] * 2),
        (
            "a form of calls",
            "gsm",
            {"tool": 1, "call_form": 1},
            (),
            2,
            long,
            [(_HERMES, end), *wrong],
        ),
        (
            "a part with a tool",
            "mix",
            {"arithmetic": 1, "arithmetic.tool": 1, "guess": 1},
            (_frame("arithmetic", reply_before="\n"),),
            1_001,
            long,
            [(_CALL, end), ("#### 3", end)],
        ),
    ):
        yield {"about": about} | _replay(
            tokenizer, name, params, prompts, [level], EpisodeRules(*rules, frozenset(ends)), said
        )


def _replay(
    tokenizer: FolderTokenizer,
    name: str,
    params: dict[str, int],
    prompts: tuple[Prompts, ...],
    levels: list[int],
    rules: EpisodeRules,
    said: list[tuple[str | None, str]],
) -> Json:
    choice = choose(name, params, prompts)
    environment = open_environment(choice)
    seed = digest("replayed")
    problem = environment.make_problem(seed, levels)
    inner = getattr(problem.answer, "problem", problem).answer
    secret = getattr(inner, "text", "")
    ids = tokenizer.encode_text("".join((secret if t is None else t) + end for t, end in said))
    prompt = tokenizer.encode(problem.conversation)
    episode = replay(begin_episode(environment, problem, len(prompt)), ids, rules, tokenizer)
    sequence, places = weave(ids[: episode.own], episode.replies)
    return {
        "environment": to_json(choice),
        "seed": seed.hex(),
        "levels": levels,
        "rules": {
            "turns": rules.turns,
            "context": rules.context,
            "reply_bytes": rules.reply_bytes,
            "max_tokens": rules.max_tokens,
            "end_tokens": sorted(rules.end_tokens),
        },
        "prompt_tokens": len(prompt),
        "ids": ids,
        "own": episode.own,
        "end": None if episode.end is None else episode.end.name,
        "replies": [{"at": reply.at, "ids": list(reply.ids)} for reply in episode.replies],
        "sequence": sequence,
        "places": places,
    } | asdict(episode.state.score())
