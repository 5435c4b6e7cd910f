"""Miners of a mixture who compute fewer or cheaper experts, and checkpoints whose experts nobody
would compute."""

import copy
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from assay.artifacts.checkpoints.folder import find_checkpoint_fault
from assay.cli.app import app
from assay.inference.checkpoint import load_checkpoint
from assay.inference.draft import OwnDrafter
from assay.inference.folder import (
    MANIFEST_FILE,
    MODEL_FILE,
    UnusableCheckpointError,
    verify_manifest,
)
from assay.inference.generate import generate_groups
from assay.inference.implementations import make_alone, make_packing_twin
from assay.inference.reference import Reference
from assay.inference.routing import choose_fewer
from assay.lab.gauntlet.strategy import make_int8
from assay.network.files import write_json
from assay.protocol.encoding import to_json
from assay.protocol.parameters import EXPERT_BITS, SMALL_MODEL_TESTS
from assay.protocol.reason import Reason
from assay.subnet import genesis_checkpoint
from assay.subnet.genesis_checkpoint import make_genesis
from assay.training.genesis_model import ALPHABET, END, PAD, make_tokenizer
from tests.adversarial.conftest import World, make_world
from tests.inference.family_models import (
    CHOSEN,
    EXPERTS,
    RAMP,
    get_tensors,
    make_config,
    make_model,
    write_config,
)

TESTS = replace(SMALL_MODEL_TESTS, router_ramp=RAMP, experts_max=EXPERTS << EXPERT_BITS)
TOKENS = 24


def write_folder(folder: Path) -> None:
    ids = {"vocab_size": len(ALPHABET) + 2, "pad_token_id": PAD, "eos_token_id": END}
    model = make_model(make_config("qwen3_moe", **ids))
    write_config(model.config, folder)
    save_file(get_tensors(model), folder / MODEL_FILE, {"format": "pt"})
    make_tokenizer().save_pretrained(folder)


@pytest.fixture(name="world", scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> World:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("mixture")
    write_folder(folder / "genesis")
    make_genesis(folder / "genesis", TOKENS, tests=TESTS, problems=4)
    world = make_world(folder, genesis=folder / "genesis", tests=TESTS)
    world.contexts[0] = world.open_context(0)
    return world


def test_honest_work_is_accepted(world: World) -> None:
    assert CHOSEN << EXPERT_BITS < world.checkpoint.manifest.experts <= EXPERTS << EXPERT_BITS
    for name in ("alice", "bob"):
        verdict = world.submit(name, 0, world.genuine(name, 0))
        assert verdict.reason is Reason.ACCEPTED, verdict.detail


CHEATS: dict[str, Callable[[Any], Any]] = {
    "its family's own routers": lambda model: model,
    "one expert fewer": lambda model: choose(model, lambda k: k - 1),
    "one expert more": lambda model: choose(model, lambda k: k + 1),
    "experts in int8": lambda model: make_alone(make_int8(model)),
    "half the ramp": lambda model: steepen(model),
}


#: The same faults of a router otherwise: other experts than are due, and another weight of each.
AGAIN = {"one expert more", "half the ramp"}


def choose(model: Any, chosen: Callable[[int], int]) -> Any:
    twin = make_packing_twin(model)
    choose_fewer(twin, chosen)
    return twin


def steepen(model: Any) -> Any:
    steep = copy.deepcopy(model)
    steep.router_ramp = RAMP // 2
    return make_packing_twin(steep)


@pytest.mark.parametrize(
    "cheat",
    [pytest.param(cheat, marks=[pytest.mark.nightly] * (cheat in AGAIN)) for cheat in CHEATS],
)
def test_a_cheaper_mixture_is_caught(world: World, cheat: str) -> None:
    """Its draws are its own, and so are all of its claims."""
    work = world.works["alice", 0]
    drawable = world.checkpoint.tokenizer.drawable
    cheap = CHEATS[cheat](world.checkpoint.model)
    reference = Reference(cheap, drawable, world.parameters.work.temperature)
    drafter = OwnDrafter(world.checkpoint.model, drawable, world.rules)
    requests = [world.miners["alice"].make_request(work, i) for i in range(len(work.groups))]
    groups = generate_groups(requests, drafter, reference, world.rules, work.projection)
    verdict = world.submit("alice", 0, groups)
    assert verdict.reason in (
        Reason.SAMPLING_MISMATCH,
        Reason.SKETCH_MISMATCH,
        Reason.LOGPROB_MISMATCH,
    ), verdict


def test_a_calibration_reads_routers_and_tries_fewer_experts(world: World, tmp_path: Path) -> None:
    command = ["calibrate", "--model", str(world.checkpoint.folder), "--json", "--quiet"]
    sides = ["--a", "fp32-sdpa", "--b", "split3", "--problems", "2", "--out", str(tmp_path)]
    report = json.loads(CliRunner().invoke(app, [*command, *sides]).stdout)
    routers = report["routers"]
    assert (routers["router_ramp"], routers["experts_chosen"]) == (RAMP, CHOSEN)
    assert CHOSEN < routers["experts_needed"] <= EXPERTS
    assert 0 < routers["divergence"] < 0.1
    assert not report["refused"]
    for attack in ("own routers", "one expert fewer", "half of the experts", "int8"):
        assert report["attacks"][attack]["rate_beyond_cap"] > 1e-3, attack


def test_the_command_proposes_a_ramp_and_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path)
    command = [str(tmp_path), "--max-tokens", "1"]
    with pytest.raises(SystemExit):
        genesis_checkpoint.main(command)
    said = re.search(r"router_ramp = (\d+) and experts_max = (2560)", capsys.readouterr().err)
    assert said is not None
    genesis_checkpoint.main([*command, "--router-ramp", said[1], "--experts-max", said[2]])
    made = verify_manifest(tmp_path)
    assert json.loads(capsys.readouterr().out)["checkpoint"] == made.digest.hex()
    assert made.router_ramp == int(said[1])
    assert CHOSEN << EXPERT_BITS <= made.experts <= int(said[2])


@pytest.mark.parametrize("experts", [0, (CHOSEN << EXPERT_BITS) - 1, (EXPERTS << EXPERT_BITS) + 1])
def test_a_manifest_with_an_impossible_number_of_experts_is_unusable(
    world: World, tmp_path: Path, experts: int
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(world.checkpoint.folder, folder)
    write_json(folder / MANIFEST_FILE, to_json(replace(world.checkpoint.manifest, experts=experts)))
    with pytest.raises(UnusableCheckpointError, match="experts"):
        load_checkpoint(folder)


def test_flat_routers_need_more_experts_than_a_network_allows(world: World) -> None:
    manifest = world.checkpoint.manifest
    limit = replace(world.parameters.tests, experts_max=manifest.experts - 1)
    fault = find_checkpoint_fault(world.checkpoint, replace(world.parameters, tests=limit))
    assert fault is not None
    assert "experts" in fault
