"""The README's examples run, in their order, and it lists what the simulator leaves out."""

import re
from pathlib import Path

import pytest

from subtensor_devnet import DESCRIPTION, Devnet, Seal

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)


def test_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITTENSOR_RUNTIME_CACHE_DIR", str(tmp_path / "sdk"))
    assert len(EXAMPLES) == 3
    names: dict[str, object] = {}
    with Devnet(tmp_path / "served", seal=Seal.INSTANT, block_time=0.05) as devnet:
        address = devnet.endpoint.removeprefix("ws://")
        for example in EXAMPLES:
            exec(example.replace("127.0.0.1:9944", address), names)
        weights = devnet.chain.state.get("SubtensorModule", "Weights", 1, 0)
    assert weights == [(0, 21_845), (1, 65_535)]


def test_what_is_left_out_is_listed_as_the_simulator_says_it() -> None:
    text = " ".join(README.split())
    _, *items = " ".join(DESCRIPTION.partition("\nA missing call")[0].split()).split(" - ")
    assert len(items) == 8
    assert [item for item in items if item.rstrip(";.") not in text] == []
