"""The golden window: the shipped checkpoint's results for fixed seeds, the same on every machine.

    python tests/vectors/golden.py            writes golden.json
    python tests/vectors/golden.py --check    exits 1 where this machine gives another window
    python tests/vectors/golden.py --check 2  the same for its first two groups

Ids are the same on every machine: every draw of this window is farther from a tie than the
difference that two permitted implementations may have. Log-probabilities and sketches may differ by
`UNITS`.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from generate import write_json  # noqa: E402
from subjects import ALICE, choose, digest  # noqa: E402

from assay.environments.base import Environment  # noqa: E402
from assay.environments.dealing import make_miner_problem  # noqa: E402
from assay.environments.registry import make_environment  # noqa: E402
from assay.inference.checkpoint import load_checkpoint  # noqa: E402
from assay.inference.generate import generate_groups, make_group_request  # noqa: E402
from assay.protocol.draw import score_tokens  # noqa: E402
from assay.protocol.encoding import to_json  # noqa: E402
from assay.protocol.episode import Reply, weave  # noqa: E402
from assay.protocol.manifest import LevelWeight, start_levels  # noqa: E402
from assay.protocol.parameters import Work  # noqa: E402
from assay.protocol.prf import compute_key  # noqa: E402
from assay.protocol.seeds import compute_projection_seed, compute_rollout_seed  # noqa: E402
from assay.protocol.words import compute_words  # noqa: E402
from assay.subnet.presets import DEMO_ENVIRONMENT, DEMO_SETTINGS, DEMO_WORK  # noqa: E402
from assay.training import GENESIS  # noqa: E402
from assay.verification import make_projection  # noqa: E402
from assay.verification.episodes import begin_episode, make_episode_rules, replay  # noqa: E402

Json = Any
GROUPS, GROUP_SIZE = 4, 8
#: The first challenge whose draws are all clear.
CHALLENGE = digest("golden challenge 0")
EPISODES_CHALLENGE = digest("golden episodes 0")
EPISODES_WORK = replace(DEMO_WORK, turns=4, context=512, reply_bytes=64, paid_reply=4_000)
#: Most deviation of another machine's values: 2^-16 nats, and steps of a sketch.
UNITS = {"logprob": 1, "sketch": 1}


def make_golden(count: int = GROUPS) -> Json:
    """The window's first groups as this machine gives them, and those of episodes."""
    checkpoint = load_checkpoint(GENESIS)
    demo = make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    sums = Asked(CHALLENGE, demo, DEMO_WORK, checkpoint.manifest.levels, count, GROUP_SIZE)
    guess = make_environment("guess", {})
    played = Asked(EPISODES_CHALLENGE, guess, EPISODES_WORK, start_levels([1]), 1, 4)
    groups, gap = _make_groups(checkpoint, sums)
    episodes, other_gap = _make_groups(checkpoint, played)
    work = ("turns", "context", "reply_bytes")
    return {
        "checkpoint": checkpoint.digest.hex(),
        "challenge_seed": CHALLENGE.hex(),
        "hotkey": ALICE.hex(),
        "temperature": DEMO_WORK.temperature,
        "units": UNITS,
        "nearest_tie": min(gap, other_gap),
        "groups": groups,
        "episodes": {
            "challenge_seed": EPISODES_CHALLENGE.hex(),
            "environment": to_json(choose("guess", {})),
            "work": {name: getattr(EPISODES_WORK, name) for name in work},
            "levels": [1],
            "groups": episodes,
        },
    }


@dataclass(frozen=True)
class Asked:
    """The groups of a challenge."""

    challenge: bytes
    environment: Environment
    work: Work
    levels: Sequence[LevelWeight]
    groups: int
    size: int


def _make_groups(checkpoint: Any, asked: Asked) -> tuple[Json, int]:
    """Groups, and the least gap of a draw in them."""
    challenge, temperature = asked.challenge, asked.work.temperature
    problems = [
        make_miner_problem(asked.environment, challenge, ALICE, index, asked.levels)
        for index in range(asked.groups)
    ]
    seeds = [
        tuple(compute_rollout_seed(challenge, ALICE, g, r) for r in range(asked.size))
        for g in range(asked.groups)
    ]
    requests = [
        make_group_request(asked.environment, problem, some, asked.work, checkpoint)
        for problem, some in zip(problems, seeds, strict=True)
    ]
    groups = generate_groups(
        requests,
        checkpoint.get_drafter(temperature),
        checkpoint.get_reference(temperature),
        checkpoint.get_rules(temperature),
        make_projection(compute_projection_seed(challenge), checkpoint.manifest),
    )
    rules, made, gaps = make_episode_rules(asked.work, checkpoint.manifest), [], []
    for problem, request, group in zip(problems, requests, groups, strict=True):
        rollouts = []
        for seed, rollout in zip(request.seeds, group, strict=True):
            begun = begin_episode(asked.environment, problem, len(request.prompt))
            ids = rollout.tokens.tolist()
            replies = replay(begun, ids, rules, checkpoint.tokenizer).replies
            gaps.append(find_gap(checkpoint, request.prompt, seed, ids, replies, temperature))
            rollouts.append(
                {
                    "tokens": ids,
                    "logprobs": rollout.logprobs.tolist(),
                    "sketch": rollout.sketch.tolist(),
                }
            )
        shown = {"prompt": problem.prompt, "prompt_tokens": list(request.prompt)}
        made.append(shown | {"rollouts": rollouts})
    return made, min(gaps)


def find_gap(
    checkpoint: Any,
    prompt: tuple[int, ...],
    seed: bytes,
    tokens: list[int],
    replies: Sequence[Reply],
    temperature: int,
) -> int:
    """By how much the drawn id's score is above the next one's, the least over all tokens."""
    sequence, places = weave(tokens, replies)
    with torch.inference_mode():
        ids = torch.tensor([[*prompt, *sequence[:-1]]])
        logits = checkpoint.model(ids).logits[0, len(prompt) - 1 :].float().numpy()[places]
    drawable = checkpoint.tokenizer.drawable
    positions = np.arange(len(tokens), dtype=np.uint64)
    keys = np.array([compute_key(seed)] * len(tokens), np.uint64)
    words = compute_words(keys, positions, logits.shape[1])
    scores = score_tokens(logits, words, temperature)
    scores[:, ~drawable] = np.iinfo(np.int64).min
    first, second = np.sort(scores, axis=1)[:, :-3:-1].T
    assert (scores.argmax(axis=1) == tokens).all()
    return int((first - second).min())


def find_differences(golden: Json, made: Json) -> list[str]:
    """The differences of a window from the golden one."""
    names = ("checkpoint", "challenge_seed", "hotkey", "temperature")
    found = [name for name in names if golden[name] != made[name]]
    pairs = [
        *zip(golden["groups"], made["groups"], strict=True),
        *zip(golden["episodes"]["groups"], made["episodes"]["groups"], strict=True),
    ]
    for g, (one, other) in enumerate(pairs):
        if (one["prompt"], one["prompt_tokens"]) != (other["prompt"], other["prompt_tokens"]):
            found.append(f"the prompt of group {g}")
        for r, (a, b) in enumerate(zip(one["rollouts"], other["rollouts"], strict=True)):
            if a["tokens"] != b["tokens"]:
                found.append(f"the ids of rollout {r} of group {g}")
                continue
            for name, unit in (("logprobs", UNITS["logprob"]), ("sketch", UNITS["sketch"])):
                apart = np.abs(np.array(a[name]) - np.array(b[name])).max()
                if apart > unit:
                    found.append(f"{name} of rollout {r} of group {g}: {apart} apart")
    return found


def main(check: bool, count: int) -> int:
    path, made = HERE / "golden.json", make_golden(count)
    if not check:
        path.write_text(write_json(made) + "\n")
    golden = json.loads(path.read_bytes())
    found = find_differences({**golden, "groups": golden["groups"][:count]}, made)
    print("\n".join(found) or f"the golden window; nearest tie {made['nearest_tie']} of 2^-20")
    return bool(found)


if __name__ == "__main__":
    check, *more = sys.argv[1:] or [""]
    sys.exit(main(check == "--check", int(more[0]) if more else GROUPS))
