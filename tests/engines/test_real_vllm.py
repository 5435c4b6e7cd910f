"""A real server of vLLM, in an environment of its own, that a miner starts and ends.

`make nightly` installs that environment and names its Python in ENGINE_PYTHON.
"""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.environments.registry import make_environment
from assay.inference.checkpoint import load_checkpoint
from assay.inference.generate import DraftCount, generate_groups
from assay.neurons.miner.engines import EngineCommand, open_engines, process_guard
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Prompts, PromptText
from assay.sandbox.secret_variables import list_plain_variables
from assay.subnet.genesis_checkpoint import make_genesis
from assay.subnet.presets import DEMO_WORK
from assay.training import GENESIS
from assay.training.first_turns import teach_first_turns
from assay.verification import make_projection
from assay.verification.episodes import EpisodeRules, make_episode_rules
from tests.engines.engine_environment import ENGINE_PYTHON, NO_ENGINE
from tests.inference.conftest import list_ids, make_group_requests
from tests.inference.workers.pooled import wait_until
from tests.small_world import TURNS, make_play_requests
from tests.training.careless_calls import call_carelessly

TEMPERATURE = 1_024
#: A bf16 engine kept 95 to 99 % of its drafts wherever that was measured; one whose draws are not
#: keyed keeps less than a half.
KEPT = 0.85
_START_S = 600.0


@pytest.fixture
def second(tmp_path):
    """A checkpoint that was learned after the genesis: its weights are a little different."""
    torch.manual_seed(0)
    genesis = load_checkpoint(GENESIS)
    weights = {
        name: (weight + 0.05 * weight.std() * torch.randn_like(weight)).to(torch.bfloat16)
        for name, weight in genesis.model.state_dict().items()
    }
    folder = CheckpointFolder(tmp_path / "models")
    folder.add(GENESIS, genesis.digest)
    manifest = folder.publish(genesis, weights, b"\1" * 32)
    return folder.get(manifest.digest)


def find_server():
    """The process that the guard of this program's only server has started."""

    def list_children(pid):
        found = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(child) for file in found for child in file.read_text().split()]

    (guard,) = (
        child
        for child in list_children(os.getpid())
        if process_guard.__file__ in Path(f"/proc/{child}/cmdline").read_text()
    )
    (server,) = list_children(guard)
    return server


def mine(mining, checkpoint, asked=None):
    """Groups by the server; the share of its drafts that was kept."""
    projection = make_projection(hash_fields(Domain.PROJECTION, b"test"), checkpoint.manifest)
    asked = asked or make_group_requests(checkpoint)
    reference = checkpoint.get_reference(TEMPERATURE)
    rules, drafter = checkpoint.get_rules(TEMPERATURE), checkpoint.get_drafter(TEMPERATURE)
    expected = generate_groups(asked, drafter, reference, rules, projection)
    count = DraftCount()
    found = mining.generate(asked, checkpoint, TEMPERATURE, projection, count)
    assert list_ids(found) == list_ids(expected)
    return 1 - count.discarded / count.drafted


@pytest.fixture
def caller(tmp_path):
    """A checkpoint that calls a calculator every other time, and its environment."""
    silent = Prompts("arithmetic", (PromptText("after", ""),), ())
    environment = make_environment("arithmetic", {"tool": 1}, [silent])
    work = replace(DEMO_WORK, turns=3, context=256, reply_bytes=64, paid_reply=4_000)
    folder, shipped = tmp_path / "caller", load_checkpoint(GENESIS)
    teach_first_turns(shipped, environment, 8, work, folder, call_carelessly, steps=300)
    make_genesis(folder, 48, environment, (8,), work=work)
    return load_checkpoint(folder), environment, make_episode_rules(work, shipped.manifest)


@pytest.mark.skipif(ENGINE_PYTHON is None, reason=NO_ENGINE)
def test_a_real_server_plays_episodes_with_a_tool(caller, tmp_path):
    checkpoint, environment, rules = caller
    asked = make_play_requests(checkpoint, 8, 4, rules, environment)
    flags = ("--enforce-eager", "--max-num-seqs", "64")
    command = EngineCommand(Path(ENGINE_PYTHON), flags, tmp_path, list_plain_variables())
    with open_engines(["auto"], command) as mining:
        mining.wait_until_started(checkpoint)
        assert mine(mining, checkpoint, asked) > KEPT
        (server,) = mining.engines
        assert (server.state, mining.trouble) == ("drafting", None)
        count = DraftCount()
        projection = make_projection(hash_fields(Domain.PROJECTION, b"test"), checkpoint.manifest)
        found = mining.generate(asked, checkpoint, TEMPERATURE, projection, count)
    said = [
        checkpoint.tokenizer.decode(rollout.tokens.tolist()) for group in found for rollout in group
    ]
    called = sum("calculator: " in text for text in said)
    assert len(said) // 4 < called < len(said)
    assert count.turns > len(said)


@pytest.mark.skipif(ENGINE_PYTHON is None, reason=NO_ENGINE)
def test_a_real_server_drafts_takes_up_a_checkpoint_and_is_killed(second, tmp_path, monkeypatch):
    monkeypatch.setattr("assay.neurons.miner.engines.process.RESTART_S", 0.0)
    flags = ("--enforce-eager", "--max-num-seqs", "64")
    command = EngineCommand(Path(ENGINE_PYTHON), flags, tmp_path, list_plain_variables())
    genesis = load_checkpoint(GENESIS)
    with open_engines(["auto"], command) as mining:
        mining.wait_until_started(genesis)
        (server,) = mining.engines
        assert mine(mining, genesis) > KEPT
        assert (server.state, mining.trouble) == ("drafting", None)
        rules = EpisodeRules(TURNS, 120, 64, genesis.manifest.max_tokens, frozenset({1}))
        assert mine(mining, genesis, make_play_requests(genesis, 6, 4, rules)) > KEPT
        # in place: a server that had kept the old weights would have other draws now and then
        pid = find_server()
        assert mine(mining, second) > KEPT
        assert (server.state, find_server()) == ("drafting", pid)
        os.killpg(pid, signal.SIGKILL)
        mine(mining, second)
        assert server.state in ("left", "starting")
        wait_until(lambda: mine(mining, second) > KEPT and server.state == "drafting", _START_S)
