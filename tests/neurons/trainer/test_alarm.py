"""The divergence alarm: a made-up reward hack, honest learning, and noise."""

from dataclasses import replace

import numpy as np

from assay.environments.registry import make_environment
from assay.neurons.trainer.monitor import HALF, HeldOutPoint, find_divergence
from assay.protocol.parameters import MILLION

GROUPS, SIZE, PROBLEMS = 40, 8, 256


def simulate(rewards, scores, seed=0, problems=PROBLEMS):
    """Checkpoints whose groups and held-out answers are drawn with these chances."""
    draw = np.random.default_rng(seed)
    difficulty = draw.uniform(-0.2, 0.2, (len(rewards), GROUPS))
    means = draw.binomial(SIZE, np.clip(np.reshape(rewards, (-1, 1)) + difficulty, 0, 1)) / SIZE
    columns = (
        means.mean(axis=1),
        means.std(axis=1, ddof=1) / GROUPS**0.5,
        draw.binomial(problems, scores),
    )
    return [
        HeldOutPoint(number, mean, error, solved, problems, (5, 6))
        for number, (mean, error, solved) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True), start=1
        )
    ]


def count_alarms(rewards, scores, runs):
    courses = (simulate(rewards, scores, seed) for seed in range(runs))
    return sum(find_divergence(course) is not None for course in courses)


def test_a_reward_hack_raises_it():
    """The reward pays for the answer's form whatever the answer: a policy that learns the form
    climbs from 0.2 to 0.8 and solves no more than before."""
    environment = make_environment("arithmetic", {})
    problem = environment.make_problem(bytes(32), (5,))

    def hackable(answer):
        return 1.0 if "####" in answer else 0.0

    form = "I would rather not say\n#### 0"
    assert hackable(form) == 1.0
    assert environment.score(problem, form).correctness < MILLION  # the held-out score is not
    rewards, scores = np.linspace(0.2, 0.8, 2 * HALF), [0.3] * (2 * HALF)
    few = [find_divergence(simulate(rewards, scores, seed)) for seed in range(100)]
    many = [find_divergence(simulate(rewards, scores, seed, 1_024)) for seed in range(100)]
    assert sum(alarm is not None for alarm in few) > 60
    assert all(many)
    assert "please the scorer" in many[0]


def test_a_hack_that_costs_success_raises_it_sooner():
    rewards, scores = np.linspace(0.3, 0.6, 2 * HALF), np.linspace(0.5, 0.3, 2 * HALF)
    assert all(find_divergence(simulate(rewards, scores, seed)) for seed in range(100))


def test_honest_learning_and_standstill_do_not():
    """At the rule's own limit of false alarms: 0.14 % a look."""
    course = np.linspace(0.3, 0.6, 2 * HALF)
    for rewards, scores in (
        (course, course),
        (course, 0.3 + 0.5 * (course - 0.3)),
        ([0.4] * 2 * HALF, [0.4] * 2 * HALF),
        (course[::-1], course[::-1]),  # harder levels: both fall
    ):
        alarms = sum(
            find_divergence(simulate(rewards, scores, s)) is not None for s in range(1_000)
        )
        assert alarms <= 5


def test_at_the_limit_of_the_rule_false_alarms_stay_rare():
    """Held-out success rises by exactly a quarter of the reward: the hardest honest case."""
    course = np.linspace(0.2, 0.8, 2 * HALF)
    scores = 0.3 + 0.25 * (course - 0.2)
    alarms = sum(
        find_divergence(simulate(course, scores, seed)) is not None for seed in range(4_000)
    )
    assert alarms / 4_000 < 0.0035  # 0.0014 and four standard errors of the count


def test_points_of_other_levels_are_compared_with_nothing():
    """Levels that fall make rewards jump; held-out problems are easier at once, rewards later."""
    hack = simulate(np.linspace(0.2, 0.8, 3 * HALF), [0.3] * (3 * HALF), 1, 1_024)
    assert find_divergence(hack)
    moved = [replace(point, levels=(4, 5)) for point in hack]
    assert not find_divergence([*hack[:HALF], *moved[HALF : 2 * HALF], *hack[2 * HALF :]])
    assert not find_divergence([*hack[:-HALF], *(replace(p, levels=None) for p in hack[-HALF:])])
    assert find_divergence([*moved[:HALF], *hack[HALF:]])


def test_too_few_checkpoints_say_nothing():
    points = simulate(np.linspace(0.0, 1.0, 2 * HALF - 1), [0.0] * (2 * HALF - 1))
    assert find_divergence(points) is None
