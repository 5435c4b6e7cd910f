"""The demo's rules: main-network rules with small numbers, and the problems its model knows."""

from collections.abc import Mapping

from assay.environments import make_environment
from assay.protocol import BeaconChain, Parameters
from assay.protocol.parameters import (
    DEMO_TIMING,
    MAIN_WORK,
    PROTOCOL_VERSION,
    SMALL_MODEL_TESTS,
    EnvironmentChoice,
    Identity,
    Setting,
    Work,
)
from assay.training import LearnConfig

#: With it a simulated chain's epochs fall between two pairs of windows.
NETUID = 25
DEMO_ENVIRONMENT = "arithmetic"
DEMO_SETTINGS: Mapping[str, int] = {}
DEMO_LEVELS = (5, 6)  # sums of three and four terms of 1 to 49
DEMO_MAX_TOKENS = 48
DEMO_LEARNING = LearnConfig()
DEMO_WORK = Work(
    group_size=8,
    audited_groups=MAIN_WORK.audited_groups,
    sampled_groups=MAIN_WORK.sampled_groups,
    group_cap=MAIN_WORK.group_cap,
    max_tokens=DEMO_MAX_TOKENS,
    temperature=MAIN_WORK.temperature,
    value_base=MAIN_WORK.value_base,
    value_mean=MAIN_WORK.value_mean,
    value_teach=MAIN_WORK.value_teach,
)


def make_demo_parameters(
    genesis_hash: bytes,
    beacon: BeaconChain,
    owner_uid: int,
    trainer: bytes,
    genesis_checkpoint: bytes,
) -> Parameters:
    """The demo's rules for a simulated chain; nothing is burned by them."""
    environment = make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    return Parameters(
        identity=Identity(
            version=PROTOCOL_VERSION,
            genesis_hash=genesis_hash,
            netuid=NETUID,
            owner_uid=owner_uid,
            burn_share=0,
            trainer=trainer,
            genesis_checkpoint=genesis_checkpoint,
        ),
        beacon=beacon,
        environment=EnvironmentChoice(
            name=DEMO_ENVIRONMENT,
            settings=tuple(Setting(k, v) for k, v in sorted(environment.params.items())),
            digest=environment.digest,
            correctness_weight=800_000,
            quality_weight=200_000,
            satisfaction_weight=0,
        ),
        timing=DEMO_TIMING,
        work=DEMO_WORK,
        tests=SMALL_MODEL_TESTS,
    )
