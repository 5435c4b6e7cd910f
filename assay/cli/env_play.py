"""`assay env sample --play`: the turns of problems, from a person or a script."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.text import Text

from assay.environments.base import Environment, Problem, RewardParts
from assay.network.text import make_printable
from assay.protocol.episode import End
from assay.protocol.parameters import REPLY_BYTES_MAX
from assay.settings.loading import ConfigError
from assay.subnet.problem_samples import SampleRequest, make_problem, open_request
from assay.verification.episodes import EpisodeRules, begin_episode

#: Bytes of a turn that are read.
_TURN_MAX = 1 << 20
#: Own tokens, and tokens of a context, where nobody says how many there may be.
_OWN, _CONTEXT = 1 << 24, 1 << 26

#: Plays a turn: what the world says, or why the episode is over, and ids to show by their names.
Step = Callable[[str], tuple[str | End, dict[str, list[int]]]]
#: Begins an episode: how its turns are played, and what it achieves so far.
Begin = Callable[[Environment, Problem], tuple[Step, Callable[[], RewardParts]]]


def run_env_play(request: SampleRequest, as_json: bool) -> None:
    """Play problems 0 to count − 1 of a seed, a turn for each line of standard input."""
    environment, max_tokens, work = open_request(request)
    rules = EpisodeRules(
        environment.turns, _CONTEXT, REPLY_BYTES_MAX, max_tokens or _OWN, frozenset()
    )
    if work is not None:
        rules = replace(rules, turns=work.turns, context=work.context, reply_bytes=work.reply_bytes)
    problems = [make_problem(environment, request, index) for index in range(request.count)]
    begin = _open_model(request, rules) if request.model is not None else _open_words(rules)
    is_quiet = as_json and not sys.stdin.isatty()
    console = Console(highlight=False, stderr=as_json, quiet=is_quiet)
    played = []
    for index, problem in enumerate(problems):
        console.print(Text(f"{index}  level {problem.level}", style="bold"))
        console.print(Text(make_printable(problem.prompt)), soft_wrap=True, end="")
        if problem.conversation.tools:
            told = f"The model's chat template tells of {problem.conversation.tools}\n"
            console.print(Text(told), soft_wrap=True, end="")
        step, score = begin(environment, problem)
        turns, end = _play(step, console)
        parts = asdict(score()) if turns else None
        _show_end(console, len(turns), end, parts)
        document = {"index": index, "level": problem.level, "prompt": problem.prompt}
        document |= {"turns": turns, "end": None if end is None else end.name, "score": parts}
        played.append(document)
        if end is None:  # standard input is at its end
            break
    if as_json:
        print(json.dumps(played))


def _play(step: Step, console: Console) -> tuple[list[dict[str, Any]], End | None]:
    """The turns of an episode, and why it is over; None: nobody gave a further turn."""
    turns: list[dict[str, Any]] = []
    while True:
        if sys.stdin.isatty():
            console.print(f"turn {len(turns) + 1}> ", end="")
        turn = _read_turn()
        if turn is None:
            return turns, None
        if not sys.stdin.isatty():
            console.print(Text(f"> {make_printable(turn)}"), soft_wrap=True)
        outcome, more = step(turn)
        reply = None if isinstance(outcome, End) else outcome
        turns.append({"turn": turn, "reply": reply} | more)
        for name, ids in more.items():
            console.print(f"{len(ids)} {name}: {' '.join(map(str, ids))}", soft_wrap=True)
        if isinstance(outcome, End):
            return turns, outcome
        end = "" if outcome.endswith("\n") else "\n"  # a template's frame may have the line break
        console.print(Text(make_printable(outcome)), soft_wrap=True, end=end)


def _show_end(console: Console, turns: int, end: End | None, parts: dict[str, int] | None) -> None:
    why = "standard input has no further turn" if end is None else end
    console.print(f"over after {turns} turn{'s' * (turns != 1)}: {why}")
    if parts is not None:
        console.print(", ".join(f"{name} {value:,}" for name, value in parts.items()))


def _open_words(rules: EpisodeRules) -> Begin:
    """Play with texts: without a tokenizer, only the number of turns ends an episode."""

    def begin(environment: Environment, problem: Problem) -> tuple[Step, Callable[[], RewardParts]]:
        state, count = environment.open(problem), 0

        def step(turn: str) -> tuple[str | End, dict[str, list[int]]]:
            nonlocal state, count
            state, reply = state.step(turn, is_ended=True)
            count += 1
            if reply is None:
                return End.DONE, {}
            return (End.TURNS if count == rules.turns else reply), {}

        return step, lambda: state.score()

    return begin


def _open_model(request: SampleRequest, rules: EpisodeRules) -> Begin:
    """Play with a model's tokenizer, as a miner and a judge see an episode."""
    from assay.evaluation.model import open_folder

    assert request.model is not None
    model = open_folder(request.model, has_weights=False)
    tokenizer, ends = model.tokenizer, model.end_tokens
    if not ends:
        raise ConfigError(f"{request.model} has no end token, which ends a turn")
    limits = replace(rules, end_tokens=frozenset(ends))

    def begin(environment: Environment, problem: Problem) -> tuple[Step, Callable[[], RewardParts]]:
        episode = begin_episode(environment, problem, len(tokenizer.encode(problem.conversation)))

        def step(turn: str) -> tuple[str | End, dict[str, list[int]]]:
            nonlocal episode
            try:
                ids = [*tokenizer.encode_text(turn), ends[0]]
            except ValueError as error:
                raise ConfigError(str(error)) from None
            stop = next(at for at, one in enumerate(ids, 1) if one in ends)
            ids = ids[: min(stop, limits.max_tokens - episode.own)]
            before = episode
            episode = episode.take_turn(ids, limits, tokenizer)
            shown = {"ids": ids}
            if episode.end is not None:
                return episode.end, shown
            reply = list(episode.replies[-1].ids)
            text = before.state.step(tokenizer.decode(ids), ids[-1] in ends)[1]
            return text or "", shown | {"reply_ids": reply}

        return step, lambda: episode.state.score()

    return begin


def _read_turn() -> str | None:
    """The next line of standard input without its newline; None: there is none."""
    line = sys.stdin.buffer.readline(_TURN_MAX + 1)
    if len(line) > _TURN_MAX:
        raise ConfigError(f"a turn on stdin has more than {_TURN_MAX >> 20} MiB")
    try:
        return line.decode().removesuffix("\n") if line else None
    except UnicodeDecodeError:
        raise ConfigError("a turn on stdin is not UTF-8") from None
