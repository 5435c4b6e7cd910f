"""The explorer beside a chain: the head and the weights; and the child that runs models."""

import shutil
import time
from pathlib import Path

import pytest

from assay.explorer.sources.groups import BusyError, HelperProcess
from subtensor_devnet import Devnet, Seal
from tests.commands import start_cold_program
from tests.explorer.program import serve

pytestmark = pytest.mark.slow


def test_head_and_weights_come_from_the_chain(demo, tmp_path):
    """The demo's own chain, over its record in a store: no folder of a run is at hand."""
    store = tmp_path / "store"
    shutil.copytree(demo / "record", store)
    shutil.copytree(demo / "store" / "parameters", store / "parameters")
    shutil.copytree(demo / "chain", tmp_path / "chain")
    with Devnet(tmp_path / "chain", seal=Seal.MANUAL) as devnet:
        chain = ["--network", devnet.endpoint, "--netuid", "1"]
        with serve(tmp_path, "--record", store, *chain, start=start_cold_program) as explorer:
            explorer.wait_until_read()
            ends = time.monotonic() + 240
            found = explorer.get_json("/index.json")
            while not (found["live"] and found["weights"]["on_chain"]):
                assert time.monotonic() < ends, (found["live"], found["weights"]["block"])
                time.sleep(1)
                found = explorer.get_json("/index.json")
            assert found["live"]["program"] == "the chain"
            assert found["live"]["head"] >= found["weights"]["block"] > found["weights"]["epoch"]
            assert "--network" in found["command"]
            paid = found["screen"]["paid"]
            assert len(paid) == found["screen"]["paid_count"] > 0
            ends = time.monotonic() + 120
            while paid[0]["tao"] is None:  # the uids are read with the next look at the chain
                assert time.monotonic() < ends
                time.sleep(1)
                paid = explorer.get_json("/index.json")["screen"]["paid"]
            assert all(row["paid"] is not None and row["alpha"] is not None for row in paid)
            _check_earnings(explorer, paid[0]["hotkey"])
            maps = Path(f"/proc/{explorer.process.pid}/maps").read_text()
            assert "torch" not in maps
            assert "arrow" not in maps


def _check_earnings(explorer, hotkey):
    """Of every settlement's epoch the chain tells what it paid; and who may set weights."""
    ends = time.monotonic() + 240
    while True:
        document = explorer.get_json(f"/miner/{hotkey}.json")
        found = document["earnings"]
        if found["of"] and found["epochs"] == len(explorer.get_json("/weights")["settlements"]):
            break
        assert time.monotonic() < ends, found
        time.sleep(1)
    alphas = [row["alpha"] for row in document["settlements"]]
    assert found["alpha"] == pytest.approx(sum(alphas))
    assert found["alpha"] > 0
    assert found["alpha_day"] > 0
    assert found["tao_day"] > 0
    (curve,) = [c for c in document["curves"] if c["name"] == "alpha"]
    assert [point["y"] for point in curve["series"][0]["points"]] == alphas[::-1]
    roles = [row["roles"] for row in explorer.get_json("/miners.json")["miners"] if row["roles"]]
    assert sorted(roles) == [["owner"], ["trainer"], ["validator"]]


def test_a_helper_ends_when_it_idles_and_starts_again():
    boot = "from assay.sandbox.child import serve; serve(lambda asked: asked, None)"
    helper = HelperProcess("echo", boot, idle_s=0.2)
    try:
        assert helper.ask({"a": 1}).result(120) == {"a": 1}
        ends = time.monotonic() + 60
        while helper.pid is not None:
            assert time.monotonic() < ends
            time.sleep(0.05)
        assert helper.ask({"a": 2}).result(120) == {"a": 2}
    finally:
        helper.close()
    assert helper.pid is None
    with pytest.raises(BusyError):
        helper.ask({})


def test_a_busy_helper_is_ended_and_all_who_wait_get_an_answer(tmp_path):
    """It writes to a folder that is removed behind it."""
    boot = (
        "from assay.sandbox.child import serve; from pathlib import Path; from itertools import "
        "count\n"
        "def write(asked):\n"
        "    for n in count():\n"
        f"        Path({str(tmp_path)!r}, 'progress').write_text(str(n))\n"
        "serve(write, None)"
    )
    helper = HelperProcess("busy", boot)
    waiting = [helper.ask({}), helper.ask({})]
    ends = time.monotonic() + 60
    while not (tmp_path / "progress").exists():
        assert time.monotonic() < ends
        time.sleep(0.02)
    helper.close()
    (tmp_path / "progress").unlink()
    assert all(isinstance(reply.result(10), str) for reply in waiting)
    assert helper.pid is None
    assert list(tmp_path.iterdir()) == []


def test_a_helper_that_dies_is_told_in_a_sentence():
    boot = (
        "from assay.sandbox.child import serve; import os; "
        "serve(lambda asked: os.kill(os.getpid(), 9), None)"
    )
    helper = HelperProcess("mortal", boot)
    try:
        assert "it died" in helper.ask({}).result(120)
    finally:
        helper.close()
