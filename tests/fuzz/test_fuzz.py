"""Every decoder under hypothesis: garbage gives a value or its one error, and nothing else.

`regressions/` keeps the inputs that a fuzzer has found, by target, and they are tried first.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*/*"))


def change(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """`data` with some stretches of it replaced."""
    for place, length, new in edits:
        start = place % (len(data) + 1)
        data = data[:start] + new + data[start + length :]
    return data


EDIT = st.tuples(
    st.integers(0, 2**20),
    st.sampled_from([0, 1, 1, 1, 2, 4, 8, 100]),
    st.binary(max_size=9) | st.sampled_from([b"[" * 9_000, b"1" * 5_000, b"-1", b"1e999", b"{}"]),
)


@pytest.mark.parametrize("part", [20, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("name", TARGETS)
def test_garbage(name: str, part: int) -> None:
    """A part of the examples: `make fuzz` and `make nightly` try more."""
    target = TARGETS[name]
    seeds = target.seeds()
    for seed in seeds:
        target.run(seed)
    changed = st.builds(change, st.sampled_from(seeds), st.lists(EDIT, min_size=1, max_size=4))

    @settings(max_examples=max(1, target.examples // part), suppress_health_check=list(HealthCheck))
    @given(changed | st.binary(max_size=200))
    def attack(data: bytes) -> None:
        target.run(data)

    attack()


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_earlier_findings(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())
