"""Whether pay follows cost: the best cheat that replaces long completions by one end token, and the
best use of looking at prompts first. A simulation, whose selection, values, levels and prices of
submissions are computed by the protocol's own code.

An engine's late share is what each own token before it adds to a token's cost; `position_share`
pays it. *Fakes*: a miner stops a share of the completions that reach a length, or replaces
completions that the prompt announces, for log-normal and bimodal lengths. The best of these is
chosen on one half of the windows and measured on the other; it sees each audit, withholds the first
window in which a fake is drawn, and is honest from then on where that pays. The first window is
faked, so that a loss shows as one. *Looking first*: many hotkeys at a twentieth of a group each,
with success from .8 to .2 by level, as the rule of levels allows, and lengths by part; and a
mixture of which nobody solves one part. Beside them, the gain if levels were drawn one by one, and
if a submission were paid for all of its groups.
*Episodes*: the worlds of a tenth of the groups reply much, so that an own token costs up to nine
times what its number among own tokens says. A miner that knows it replaces such completions by one
end token, with 4 uniform draws as on the main network, and with 10.
`--fast`: few windows and hotkeys.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from figures import FAST, Figure, report
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))
from assay.environments.registry import make_environment, parse_choice
from assay.lab.gauntlet.measuring import HOTKEY_PRICE, SETTLEMENT_WINDOWS
from assay.protocol.manifest import start_levels
from assay.protocol.parameters import MAIN_WORK, MILLION, Work
from assay.protocol.selection import select_groups, select_rollouts
from assay.verification import compute_value
from assay.verification.settlement import UNPAID_GROUPS
from tests.lab.gauntlet.looking import (
    Engine,
    LevelPay,
    compute_level_pay,
    compute_looking_gain,
    deal_levels,
)

WINDOWS = 200 if FAST else 3_000
#: Windows whose mean is one observation of a gain.
BATCH = WINDOWS // 20
GROUPS, SUCCESS, LONGEST = 256, 0.4, MAIN_WORK.max_tokens
#: The cost of a token at position 4,096, with 1 for the first one.
STATED = 1 + LONGEST * MAIN_WORK.position_share / MILLION
RATIOS = (1.0, 5.0, 9.0, STATED, 20.0, 40.0)
HOTKEYS, PROBLEMS = (40, 64) if FAST else (400, 192)

Lengths = NDArray[np.int64]


@dataclass(frozen=True)
class Cheat:
    """The completions that are replaced by one end token.

    Attributes:
        limit: tokens after which a completion is stopped; 0: it is never begun.
        share: of the completions that would be longer, or of the groups that a prompt announces.
        kind: of groups that are replaced without a token: "long" or "short"; None: any that reach
            the limit.
    """

    limit: int
    share: float
    kind: str | None = None


CHEATS = (
    *(Cheat(limit, share) for limit in (500, 1_000, 2_000, 3_500) for share in (0.05, 0.3, 1.0)),
    *(Cheat(0, share, kind) for kind in ("long", "short") for share in (0.05, 1.0)),
)


def draw_lengths(
    name: str, rng: np.random.Generator, count: int
) -> tuple[Lengths, NDArray[np.bool_]]:
    """Tokens of `count` groups' completions, [count, G], and which groups are long by their
    prompt."""
    size = MAIN_WORK.group_size
    is_long = rng.random(count) < 0.5
    if name == "log-normal":
        median = np.where(is_long, 800.0, 300.0)[:, None]
        drawn = median * rng.lognormal(0.0, 0.8, (count, size))
    else:
        mean = np.where(is_long, 310.0, 150.0)[:, None]
        drawn = mean * rng.gamma(4.0, 0.25, (count, size))
        drawn[rng.random((count, size)) < 0.01] = LONGEST
    return np.clip(drawn, 1, LONGEST).astype(np.int64), is_long


def choose_fakes(
    cheat: Cheat, lengths: Lengths, is_long: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.bool_]:
    if cheat.kind is None:
        return (lengths > cheat.limit) & (rng.random(lengths.shape) < cheat.share)
    announced = is_long if cheat.kind == "long" else ~is_long
    groups = announced & (rng.random(len(lengths)) < cheat.share)
    return np.broadcast_to(groups[:, None], lengths.shape)


@dataclass(frozen=True)
class Replying:
    """Worlds that reply in groups that a prompt announces.

    Attributes:
        share: of the groups.
        dear: cost of an own token there, relative to one of the same number without replies. The
            replies are not paid: where they are, `dear` is relative to that pay, too.
    """

    share: float
    dear: float


@dataclass(frozen=True)
class Played:
    """A cheat's windows: pay relative to honest work's mean, and whether a fake was drawn."""

    honest: NDArray[np.float64]
    faked: NDArray[np.float64]
    found: NDArray[np.bool_]
    #: tokens, and own tokens before each: of honest and of cheating work, a completion
    honest_cost: tuple[float, float]
    faked_cost: tuple[float, float]


#: Which completions are replaced: from their lengths, whether each group's prompt announces long
#: ones, and the windows' randomness.
Choose = Callable[[Lengths, NDArray[np.bool_], np.random.Generator], NDArray[np.bool_]]


def play(work: Work, name: str, cheat: Cheat) -> Played:
    windows = play_windows(work, name, partial(choose_fakes, cheat))
    lengths, is_long = draw_lengths(name, np.random.default_rng(8), 20_000)
    fakes = choose_fakes(cheat, lengths, is_long, np.random.default_rng(9))
    made = np.where(fakes, np.minimum(lengths, cheat.limit), lengths)
    return Played(*windows, count_tokens(lengths), count_tokens(made))


def play_replying(work: Work, replying: Replying, share: float) -> Played:
    """The windows of a cheat that begins this share of the announced groups' completions with an
    end token, at which its world is done."""
    windows = play_windows(work, "log-normal", partial(choose_dear, replying.share, share))
    lengths, _ = draw_lengths("log-normal", np.random.default_rng(8), 20_000)
    rng = np.random.default_rng(9)
    replies = rng.random(len(lengths)) < replying.share
    dear = np.where(replies, replying.dear, 1.0)[:, None]
    made = np.where(replies[:, None] & (rng.random(lengths.shape) < share), 0, lengths)
    return Played(*windows, count_tokens(lengths, dear), count_tokens(made, dear))


def choose_dear(
    replying: float,
    share: float,
    lengths: Lengths,
    is_long: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """A share of the completions of those groups whose worlds reply. Lengths tell nothing."""
    del is_long
    replies = rng.random(len(lengths)) < replying
    return replies[:, None] & (rng.random(lengths.shape) < share)


def play_windows(
    work: Work, name: str, choose: Choose
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Honest and cheating pay of each window, and whether a fake was drawn."""
    rng = np.random.default_rng(7)
    honest, faked, found = [], [], []
    for window in range(WINDOWS):
        seed = sha256(window.to_bytes(8, "big")).digest()
        lengths, is_long = draw_lengths(name, rng, work.audited_rollouts)
        fakes = choose(lengths, is_long, rng)
        right = (rng.random(lengths.shape) < SUCCESS) & (lengths < LONGEST)
        shown = np.where(fakes, 1, lengths)
        hit, values, others = False, [], []
        for place, group in enumerate(select_groups(seed, bytes(32), GROUPS, work)):
            row = shown[place].tolist()
            drawn = select_rollouts(seed, bytes(32), group, row, work)
            hit = hit or bool(fakes[place, list(drawn)].any())
            if group.valued:
                values.append(value_group(work, row, right[place] & ~fakes[place]))
                others.append(value_group(work, lengths[place].tolist(), right[place]))
        honest.append(np.mean(others))
        faked.append(np.mean(values))
        found.append(hit)
    return np.array(honest), np.array(faked), np.array(found)


def value_group(work: Work, lengths: Sequence[int], right: NDArray[np.bool_]) -> int:
    mean = int(right.sum()) * MILLION // len(right)
    return compute_value(
        work, lengths=lengths, prompt_tokens=100, mean_reward=mean, mean_correctness=mean
    )


def count_tokens(lengths: Lengths, dear: NDArray[np.float64] | float = 1.0) -> tuple[float, float]:
    """Means of a completion's tokens and of own tokens before each, at their cost's ratio."""
    late = lengths * (lengths - 1) / 2
    return float((lengths * dear).mean()), float((late * dear).mean())


def compute_gain(played: Played, where: slice, ratio: float) -> float:
    """The gain of a settlement that begins with a faked window and goes on as pays best."""
    late = (ratio - 1) / LONGEST
    costs = [a + late * b for a, b in (played.honest_cost, played.faked_cost)]
    missed = ~played.found[where]
    paid = float(played.faked[where][missed].mean()) if missed.any() else 0.0
    return find_best(
        1 - float(missed.mean()), paid / float(played.honest[where].mean()), costs[1] / costs[0]
    )


def find_best(detection: float, paid: float, cost: float) -> float:
    """The same, from the probability that a fake is drawn, and the pay and cost of a window without
    that, with 1 for honest ones; by backward induction."""
    low, high = 0.0, 8.0
    while high - low > 1e-5:
        rate = (low + high) / 2
        surplus = compute_surplus(rate, detection, paid, cost)
        low, high = (rate, high) if surplus > 0 else (low, rate)
    return low - 1


def compute_surplus(rate: float, detection: float, paid: float, cost: float) -> float:
    """Most expected pay less `rate` for each unit of cost, of a settlement that begins with a faked
    window."""

    @cache
    def go_on(left: int, withheld: bool, fakes: int, honest: int) -> float:
        if left == 0:
            return fakes * paid + honest
        work = go_on(left - 1, withheld, fakes, honest + 1) - rate
        return max(work, fake(left, withheld, fakes, honest))

    def fake(left: int, withheld: bool, fakes: int, honest: int) -> float:
        missed = go_on(left - 1, withheld, fakes + 1, honest)
        hit = 0.0 if withheld else go_on(left - 1, True, fakes, honest)
        return (1 - detection) * missed + detection * hit - rate * cost

    return fake(SETTLEMENT_WINDOWS, False, 0, 0)


def measure_fakes() -> Iterator[Figure]:
    half = WINDOWS // 2
    for name in ("log-normal", "bimodal"):
        games = {
            share: [play(replace(MAIN_WORK, position_share=share), name, cheat) for cheat in CHEATS]
            for share in (MAIN_WORK.position_share, 0)
        }
        for ratio in RATIOS:
            gains = {}
            for share, played in games.items():
                best = max(played, key=lambda one: compute_gain(one, slice(0, half), ratio))
                batches = [
                    compute_gain(best, slice(start, start + BATCH), ratio)
                    for start in range(half, WINDOWS, BATCH)
                ]
                gains[share] = (
                    100 * compute_gain(best, slice(half, WINDOWS), ratio),
                    100 * float(np.std(batches, ddof=1)) / len(batches) ** 0.5,
                )
            (gain, error), (flat, _) = gains[MAIN_WORK.position_share], gains[0]
            bound = 3 * error if ratio <= STATED else None
            what = f"best cheat's gain, {name} lengths, a token at 4,096 costs {ratio:.3g}"
            yield Figure(f"{what}", gain, "%", "without position_share", flat, bound)
            yield Figure(f"{what}: standard error", error, "%")


#: Uniform draws, and the ratios of cost for which they keep the law: below 1 + draws - 1.3 for
#: rollouts of mean length.
EPISODES = ((4, (1.0, 2.0, 3.0, 9.0)), (10, (3.0, 9.0)))


def measure_replies() -> Iterator[Figure]:
    """The best share of announced completions to drop, on the steepest engine that is paid."""
    half = WINDOWS // 2
    for uniform, ratios in EPISODES:
        valued = MAIN_WORK.audited_rollouts - uniform
        work = replace(MAIN_WORK, valued_groups=valued)
        for dear in ratios:
            played = [play_replying(work, Replying(0.1, dear), share) for share in (0.05, 0.3, 1.0)]
            best = max(played, key=lambda one: compute_gain(one, slice(0, half), STATED))
            batches = [
                compute_gain(best, slice(start, start + BATCH), STATED)
                for start in range(half, WINDOWS, BATCH)
            ]
            gain = 100 * compute_gain(best, slice(half, WINDOWS), STATED)
            error = 100 * float(np.std(batches, ddof=1)) / len(batches) ** 0.5
            bound = 3 * error if dear - 1 < uniform - 1.3 else None
            what = f"best cheat's gain, episodes, {uniform} uniform draws, {dear:g} times as dear"
            yield Figure(what, gain, "%", bound=bound)
            yield Figure(f"{what}: standard error", error, "%")


#: Environments and mixtures, levels in force, and mean tokens of a completion by part.
COURSES = (
    ("arithmetic", (4, 5, 6)),
    ("gsm", (2, 3, 4)),
    ("sat", (5, 8, 12)),
    ("errands", (2, 3, 4)),
    ("mix,arithmetic=3,sat=1", (1_004, 1_005, 1_006, 2_005, 2_008, 2_012)),
    ("mix,gsm=1,sat=1", (1_002, 1_003, 1_004, 2_005, 2_008, 2_012)),
    ("mix,gsm=2,arithmetic=1", (1_004, 1_005, 1_006, 2_002, 2_003, 2_004)),
    ("mix,errands=2,gsm=3,sat=1", (1_002, 1_003, 1_004, 2_002, 2_003, 2_004, 3_005, 3_008)),
)
TOKENS = {"arithmetic": 150, "gsm": 250, "sat": 600, "errands": 300}
SUCCESSES = (0.8, 0.5, 0.2)
#: The mixture of which nobody solves the second part.
UNSOLVED = "mix,arithmetic=3,sat=1"


def measure_looking() -> Iterator[Figure]:
    """Gains by environment: the engine that `position_share` stands for, with cheap and dear
    prompts; then a flat one; then a part that nobody solves."""
    steep = MAIN_WORK.position_share / MILLION
    for name, levels in COURSES:
        environment = make_environment(*parse_choice(name))
        dealt = deal_levels(environment, start_levels(levels), HOTKEYS, PROBLEMS)
        shares = np.array(environment.compute_shares(levels), float)
        drawn = np.random.default_rng(1).choice(levels, dealt.shape, p=shares / shares.sum())

        measure = partial(compute_most, name, levels)
        one_by_one, whole = measure(drawn, steep), measure(dealt, steep, unpaid=0.0)
        about = f"looking first, {name}"
        yield Figure(about, measure(dealt, steep), "%", "levels drawn one by one", one_by_one, 1.0)
        yield Figure(f"{about}, if submissions were paid in full", whole, "%")
        yield Figure(f"{about}, a flat engine", measure(dealt, 0.0), "%")
        if name == UNSOLVED:
            gain = measure(dealt, steep, unsolved=2)
            yield Figure(f"{about}, the second part unsolved", gain, "%", bound=1.0)
            gain = measure(dealt, steep, unrewarded=2)
            yield Figure(f"{about}, the second loses its rewards by length", gain, "%", bound=1.0)


def compute_most(
    name: str,
    levels: Sequence[int],
    asked: NDArray[np.int64],
    late: float,
    unsolved: int = 0,
    unrewarded: int = 0,
    unpaid: float = float(UNPAID_GROUPS),
) -> float:
    """The largest gain over costs of a prompt's token, per cent."""
    pays = [
        expect_pays(name, levels, Engine(prompt, late), unsolved, unrewarded)
        for prompt in (0.01, 0.1, 0.4)
    ]
    return 100 * max(compute_looking_gain(asked, one, HOTKEY_PRICE, unpaid) for one in pays)


def expect_pays(
    name: str, levels: Sequence[int], engine: Engine, unsolved: int = 0, unrewarded: int = 0
) -> dict[int, LevelPay]:
    """What to expect of each level.

    Args:
        unsolved, unrewarded: numbers of a part whose problems nobody solves, and of one whose
            completions lose all of their rewards by their length; 0: none.
    """
    environment = make_environment(*parse_choice(name))
    parts = sorted(part for part in parse_choice(name)[1]) or [name]
    pays = {}
    for level in levels:
        part = parts[level // 1_000 - 1] if len(parts) > 1 else name
        place = [other for other in levels if other // 1_000 == level // 1_000].index(level)
        median = TOKENS[part] * (1 + 0.25 * place)
        drawn = np.random.default_rng(5).lognormal(np.log(median), 0.5, 1_000)
        prompts = [
            len(environment.make_problem(sha256(bytes([i])).digest(), [level]).prompt) // 4
            for i in range(20)
        ]
        pays[level] = compute_level_pay(
            MAIN_WORK,
            engine,
            success=0.0 if unsolved and level // 1_000 == unsolved else SUCCESSES[place],
            prompt_tokens=sum(prompts) // len(prompts),
            lengths=np.clip(drawn, 1, LONGEST).astype(int).tolist(),
            kept=0 if unrewarded and level // 1_000 == unrewarded else MILLION,
        )
    return pays


def measure_overpay() -> Iterator[Figure]:
    """Arithmetic: what a flat engine is paid for its cost, by length."""
    base = MAIN_WORK.weigh_completion(500) / 500
    for tokens in (100, 1_000, LONGEST):
        pay = MAIN_WORK.weigh_completion(tokens) / tokens / base
        yield Figure(
            f"pay for its cost on a flat engine, {tokens:,} tokens", pay, "", "500 tokens", 1
        )


def main() -> None:
    figures = [*measure_fakes(), *measure_replies(), *measure_looking(), *measure_overpay()]
    report(
        f"pay at cost: position_share {MAIN_WORK.position_share}, {WINDOWS:,} windows of {GROUPS} "
        f"groups, {HOTKEYS} hotkeys",
        figures,
        1,
    )


if __name__ == "__main__":
    main()
