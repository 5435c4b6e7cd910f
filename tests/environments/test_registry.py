"""Settings, levels, digests and rewards: errors name illegal ones."""

from dataclasses import replace

import pytest

from assay.environments.base import UNREAD, RewardParts, rate_answer
from assay.environments.registry import (
    KINDS,
    make_environment,
    open_environment,
    parse_choice,
    write_choice,
)
from assay.environments.rewards import compute_reward
from assay.protocol.parameters import MILLION, EnvironmentChoice, Rewards, Setting
from tests.absent import has_sandbox

SEED = bytes(32)
#: Those that stand alone; and need no sandbox, where there is none.
OWN = [
    kind.name
    for kind in KINDS.values()
    if kind.drawn is not None and kind.name != "propose" and (has_sandbox() or kind.require is None)
]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        (
            "chess",
            {},
            r"no environment 'chess'; there are: abduce, arithmetic, codes, deduce, errands, ",
        ),
        ("arithmetic", {"word": 1}, r"no parameter 'word'; it has: minus, words"),
        ("arithmetic", {"words": 101}, r"words = 101 must be an integer from 0 to 100"),
        ("arithmetic", {"words": -1}, r"words = -1 must be"),
        ("arithmetic", {"words": True}, r"words = True must be"),
        ("arithmetic", {"words": 0.5}, r"words = 0.5 must be"),
        ("sat", {"k": 2}, r"k = 2 must be an integer from 3 to 5"),
    ],
)
def test_illegal_settings(name: str, params: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_environment(name, params)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("levels", [[], [0], [10**6], [6, 5], [5, 5], [5, 10**6]])
def test_illegal_levels(name: str, levels: list[int]) -> None:
    with pytest.raises(ValueError, match="level"):
        make_environment(name, {}).make_problem(SEED, levels)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_illegal_seed(name: str, seed: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        make_environment(name, {}).make_problem(seed, [5])


@pytest.mark.parametrize("name", OWN)
def test_levels_are_drawn_uniformly(name: str) -> None:
    environment = make_environment(name, {})
    levels = [environment.make_problem(bytes([i]) * 32, [5, 6]).level for i in range(128)]
    assert 41 < levels.count(5) < 87  # four standard deviations


def test_another_environments_problem_is_our_own_fault() -> None:
    arithmetic, sat = (make_environment(name, {}) for name in ("arithmetic", "sat"))
    with pytest.raises(TypeError):
        arithmetic.score(sat.make_problem(SEED, [5]), "#### 1")
    with pytest.raises(TypeError):
        sat.score(arithmetic.make_problem(SEED, [5]), "#### 1")


def test_every_setting_changes_the_digest() -> None:
    settings = [("arithmetic", {}), ("arithmetic", {"words": 1}), ("arithmetic", {"minus": 1})]
    digests = {make_environment(name, params).digest for name, params in settings}
    assert len(digests) == 3
    explicit = make_environment("arithmetic", {"words": 0, "minus": 0})
    assert explicit.digest == make_environment("arithmetic", {}).digest


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sat", ("sat", {})),
        ("sat,k=4", ("sat", {"k": 4})),
        (" sat , k=4 , density=-3", ("sat", {"k": 4, "density": -3})),
        (
            "mix,reasoning_gym:chain_sum=2,sat.k=3",
            ("mix", {"reasoning_gym:chain_sum": 2, "sat.k": 3}),
        ),
    ],
)
def test_a_choice_as_a_person_writes_it(text: str, found: tuple[str, dict[str, int]]) -> None:
    assert parse_choice(text) == found


@pytest.mark.parametrize(
    "text", ["sat,", "sat,k", "sat,k=", "sat,=4", "sat,k=4.0", "sat,k=4,k=4", "sat,k=" + "9" * 30]
)
def test_a_choice_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match="write each setting once"):
        parse_choice(text)


@pytest.mark.parametrize(
    "text",
    [
        "sat",
        "sat,k=4",
        "gsm,answer_form=boxed,tool=calculator,call_form=hermes",
        "mix,arithmetic=3,gsm=1,arithmetic.minus=1,gsm.plain=1,gsm.tool=calculator,gsm.call_form=xml",
    ],
)
def test_a_network_s_environment_is_written_as_a_person_writes_it(text: str) -> None:
    name, settings = parse_choice(text)
    environment = make_environment(name, settings)
    stated = tuple(Setting(*each) for each in sorted(environment.params.items()))
    written = write_choice(EnvironmentChoice(name, stated, environment.digest, ()))
    assert sorted(written.split(",")) == sorted(text.split(","))
    assert make_environment(*parse_choice(written)).digest == environment.digest


def test_a_network_s_environment_that_nobody_knows_is_written() -> None:
    stated = (Setting("what", 3), Setting("tool", 99))
    for name in ("other", f"math:{'0' * 64}", "reasoning_gym:other"):
        choice = EnvironmentChoice(name, stated, bytes(32), ())
        assert write_choice(choice) == f"{name},what=3,tool=99"


def test_an_open_environment_is_kept() -> None:
    environment = make_environment("sat", {})
    settings = tuple(Setting(name, value) for name, value in environment.params.items())
    choice = EnvironmentChoice("sat", settings, environment.digest)
    assert open_environment(choice) is open_environment(choice)
    with pytest.raises(ValueError, match="another version"):
        open_environment(replace(choice, digest=bytes(32)))


def test_reward_is_floored() -> None:
    weights = Rewards(1, 1)
    assert compute_reward(rate_answer(1, quality=333_333), 0, weights, 48) == 1
    assert compute_reward(rate_answer(1, quality=MILLION), 0, Rewards(), 48) == MILLION
    assert compute_reward(UNREAD, 0, Rewards(), 48) == 0


@pytest.mark.parametrize(
    "parts", [(-1, 0, 0, 0), (0, MILLION + 1, 0, 0), (MILLION, 0, 0, 0), (1, 0, 1, 0)]
)
def test_illegal_parts(parts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"millionths|right answer"):
        RewardParts(
            **dict(zip(("correctness", "quality", "satisfaction", "format"), parts, strict=True))
        )
