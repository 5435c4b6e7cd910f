"""Models that have watched a careless player: the shipped one knows sums, and no turns.

So a model knows the form of a turn, as one does that was instructed, and has a notion that replies
matter. To heed them is left to learn.
"""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from assay.environments.base import Environment, Problem
from assay.environments.worlds.guess import Number
from assay.inference.checkpoint import Checkpoint
from assay.protocol.episode import weave
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Work
from assay.protocol.prf import Stream
from assay.training.genesis_model import PAD, save_model
from assay.verification.episodes import EpisodeRules, begin_episode, make_episode_rules

#: Steps, episodes of each, and the learning rate, which rises over some steps and then falls to 0.
STEPS, _BATCH, RATE, _RISE = 120, 32, 1e-3, 10
_IGNORED = -100


#: How somebody plays a problem: yields turns, and is sent the reply to each.
Player = Callable[[Problem, Stream], Generator[str, str, None]]


def guess_carelessly(problem: Problem, stream: Stream) -> Generator[str, str, None]:
    """Every other guess is drawn without a thought, and the others from what the replies have
    left. A problem of `guess`."""
    assert isinstance(problem.answer, Number), "guess has such problems"
    left, every = range(problem.answer.numbers), range(problem.answer.numbers)
    while True:
        drawn_from = left if stream.draw_below(2) else every
        guess = drawn_from[stream.draw_below(len(drawn_from))]
        reply = yield str(guess)
        left = (
            range(max(left.start, guess + 1), left.stop)
            if reply == "higher\n"
            else range(left.start, min(left.stop, guess))
        )


def teach_first_turns(
    checkpoint: Checkpoint,
    environment: Environment,
    level: int,
    work: Work,
    folder: Path,
    player: Player = guess_carelessly,
    steps: int = STEPS,
    rate: float = RATE,
) -> None:
    """Write the checkpoint's model into a folder, after it has watched a careless player. The same
     arguments give the same weights on the same machine.

    Args:
        environment: of the player's problems.
        work: says how episodes end.

    Raises:
        OSError: the folder cannot be written.
    """
    rules = make_episode_rules(work, checkpoint.manifest)
    model: Any = checkpoint.load_trainable()
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / _RISE) * (1 - step / steps)
        numbers = range(step * _BATCH, (step + 1) * _BATCH)
        rows = [_play(checkpoint, environment, level, rules, player, n) for n in numbers]
        longest = max(len(ids) for ids, _ in rows)
        ids = torch.full((_BATCH, longest), PAD)
        targets = torch.full((_BATCH, longest), _IGNORED)
        for row, (tokens, own) in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            targets[row, own] = ids[row, own]
        with torch.enable_grad():
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
            cross_entropy(
                logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=_IGNORED
            ).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    save_model(model, folder)


def _play(
    checkpoint: Checkpoint,
    environment: Environment,
    level: int,
    rules: EpisodeRules,
    player: Player,
    number: int,
) -> tuple[list[int], list[int]]:
    """An episode of the player: its tokens, and the places of the model's own."""
    seed = hash_fields(Domain.HELD_OUT, b"first turns", number.to_bytes(8, "big"))
    problem = environment.make_problem(seed, [level])
    prompt, tokenizer = checkpoint.tokenizer.encode(problem.conversation), checkpoint.tokenizer
    episode, own = begin_episode(environment, problem, len(prompt)), list[int]()
    turns, state = player(problem, Stream(seed)), environment.open(problem)
    said = next(turns)
    while True:
        turn = [*tokenizer.encode_text(said), min(rules.end_tokens)]
        episode = episode.take_turn(turn, rules, tokenizer)
        own += turn
        state, reply = state.step(said, is_ended=True)
        if episode.end is not None or reply is None:
            break
        said = turns.send(reply)
    sequence, places = weave(own, episode.replies)
    return [*prompt, *sequence], [len(prompt) + place for place in places]
