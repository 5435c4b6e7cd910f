"""The subjects of the vectors: one network, two hotkeys, digests made from names."""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256

from assay.environments.registry import make_environment
from assay.protocol.beacon import QUICKNET
from assay.protocol.parameters import (
    DEMO_TIMING,
    MAIN_WORK,
    PROTOCOL_VERSION,
    SMALL_MODEL_TESTS,
    STEERING,
    EnvironmentChoice,
    Identity,
    Parameters,
    Prompts,
    PromptText,
    Rewards,
    Setting,
    Shot,
)

ALICE = bytes.fromhex("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d")
BOB = bytes.fromhex("8eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48")
WINDOW = 1_000


def digest(name: str) -> bytes:
    """A made-up 32-byte digest or seed for the vectors."""
    return sha256(f"assay vectors: {name}".encode()).digest()


PARAMETERS = Parameters(
    identity=Identity(
        version=PROTOCOL_VERSION,
        genesis_hash=digest("genesis"),
        netuid=7,
        owner_uid=0,
        burn_share=50_000,
        trainer=digest("trainer"),
        genesis_checkpoint=digest("genesis checkpoint"),
    ),
    beacon=QUICKNET,
    environment=EnvironmentChoice(
        name="arithmetic",
        settings=(Setting("minus", 25), Setting("words", 0)),
        digest=digest("environment"),
        prompts=(
            Prompts("arithmetic", (PromptText("system", "Add."),), (Shot("7+15=?\n", "#### 22"),)),
        ),
    ),
    rewards=Rewards(),
    steering=STEERING,
    timing=DEMO_TIMING,
    work=replace(MAIN_WORK, group_size=8, max_tokens=48),
    tests=SMALL_MODEL_TESTS,
)


def choose(
    name: str, params: Mapping[str, int], prompts: tuple[Prompts, ...] = ()
) -> EnvironmentChoice:
    """An environment as parameters choose it, with all of its settings."""
    made = make_environment(name, params, prompts)
    stated = tuple(Setting(*pair) for pair in sorted(made.params.items()))
    return EnvironmentChoice(made.name, stated, made.digest, prompts)
