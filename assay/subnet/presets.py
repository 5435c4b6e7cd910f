"""Parameters for a new network: a preset, the chain's facts, and the owner's changes.

Nothing here is in force until the owner publishes it: see `assay.artifacts.discovery`. An owner's
mistake raises a ConfigError.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from assay.environments.base import Environment
from assay.environments.evaluation import name_choice
from assay.environments.registry import make_environment, parse_choice
from assay.environments.rewards import choose_rewards
from assay.network.toml_settings import BYTES_MAX, read_toml
from assay.protocol.beacon import BeaconChain
from assay.protocol.encoding import EncodingError, from_json, read_json, to_json
from assay.protocol.parameters import (
    DEMO_TIMING,
    MAIN_TIMING,
    MAIN_WORK,
    PROTOCOL_VERSION,
    SMALL_MODEL_TESTS,
    STEERING,
    EnvironmentChoice,
    Identity,
    Parameters,
    Prompts,
    Rewards,
    Tests,
    Timing,
    Work,
    find_parameters_fault,
)
from assay.rounds.choice import ROUNDS, complete_rounds
from assay.settings.loading import ConfigError, open_named_environment
from assay.subnet.gating import complete_gate, read_choice
from assay.subnet.prompt_tables import read_prompts
from assay.subnet.recipes import RECIPES

#: With this number, a simulated chain's epochs fall between two pairs of windows.
NETUID = 25
#: The recipe with the demo's numbers.
DEMO_RECIPE = "genesis-arithmetic"
#: The recipe of a demo of episodes.
EPISODES_RECIPE = "genesis-guess"
_DEMO: Mapping[str, Any] = tomllib.loads((RECIPES / f"{DEMO_RECIPE}.toml").read_text())
#: The demo's problems, which its model can solve.
DEMO_ENVIRONMENT, DEMO_SETTINGS = parse_choice(_DEMO["environment"])
DEMO_LEVELS = tuple(_DEMO["levels"])
#: Main-network rules with small numbers.
DEMO_WORK = replace(MAIN_WORK, **_DEMO["parameters"]["work"])
DEMO_MAX_TOKENS = DEMO_WORK.max_tokens


@dataclass(frozen=True, slots=True)
class Preset:
    """Parameters that fit together. `timing` holds for blocks of its own `slot_ms`."""

    timing: Timing
    work: Work
    tests: Tests


PRESETS: Mapping[str, Preset] = {
    "main": Preset(MAIN_TIMING, MAIN_WORK, SMALL_MODEL_TESTS),
    "demo": Preset(DEMO_TIMING, DEMO_WORK, SMALL_MODEL_TESTS),
}


def make_parameters(
    timing: Timing, preset: Preset, identity: Identity, beacon: BeaconChain, environment: str
) -> Parameters:
    """Parameters of a preset for one subnet. `timing` is the preset's, with the chain's slot and
    the subnet's tempo."""
    opened = open_named_environment(environment)
    return Parameters(
        identity=identity,
        beacon=beacon,
        environment=name_choice(opened),
        rewards=choose_rewards(opened.rated),
        steering=STEERING,
        timing=timing,
        work=preset.work,
        tests=preset.tests,
    )


def parse_environment(text: str) -> EnvironmentChoice:
    """An environment that a person names, in the form of the parameters."""
    return name_choice(open_named_environment(text))


def read_changes(file: Path) -> Mapping[str, Any]:
    """Changes to parameters, by section and field, from a TOML or JSON file."""
    if file.suffix != ".json":
        return read_toml(file)[0]
    try:
        with file.open("rb") as opened:
            data = opened.read(BYTES_MAX + 1)
        if len(data) > BYTES_MAX:
            raise ConfigError(f"{file} is larger than {BYTES_MAX >> 20} MiB")
        changes = read_json(data)
    except OSError as error:
        raise ConfigError(f"cannot read {file} ({error.strerror})") from None
    except EncodingError as error:
        raise ConfigError(f"{file} is not JSON: {error}") from None
    if not isinstance(changes, dict):
        raise ConfigError(f"{file} has no sections: write sections such as [work]")
    return changes


def change_parameters(parameters: Parameters, changes: Mapping[str, Any]) -> Parameters:
    """Parameters with some fields replaced, each in the form of `Parameters.to_json`.

    An environment may be changed by name and by single settings; its digest follows. A gate's
    numbers have defaults, and its environment may be named by its files, see `complete_gate`. The
    trainers of rounds are addresses; an empty list ends the rounds.
    """
    written = parameters.to_json()
    for section, fields in changes.items():
        if section == ROUNDS:
            continue
        if section not in written:
            known = ", ".join([*written, ROUNDS])
            raise ConfigError(f"parameters have no section {section!r}; they have: {known}")
        if not isinstance(fields, Mapping):
            raise ConfigError(f"{section!r} is a section: write [{section}] and its fields below")
        if section == "environment":
            environment, prompts = _change_environment(parameters.environment, fields)
            choice = to_json(name_choice(environment, prompts))
            fields = {**fields, **choice, "digest": fields.get("digest", choice["digest"])}
            if parameters.rewards == Rewards():  # nothing may be able to earn quality
                fallen = asdict(choose_rewards(environment.rated))
                written["rewards"] = {**fallen, **changes.get("rewards", {})}
        written[section] = {**written[section], **fields}
    try:
        if "gate" in changes:
            asked, held = read_choice(written["environment"]), parameters.to_json()["gate"]
            written["gate"] = complete_gate(held, changes["gate"], asked)
    except EncodingError as error:
        raise ConfigError(f"parameters: {error}") from None
    written |= complete_rounds(written.pop(ROUNDS, None), changes.get(ROUNDS))
    try:
        changed = from_json(Parameters, written)
    except EncodingError as error:
        raise ConfigError(f"parameters: {error}") from None
    fault = find_parameters_fault(changed)
    if fault is not None:
        raise ConfigError(f"nobody could run a network with these parameters: {fault}")
    return changed


def _change_environment(
    choice: EnvironmentChoice, fields: Mapping[str, Any]
) -> tuple[Environment, Sequence[Prompts]]:
    """The environment of changed fields, and its prompts. Settings may come as `{name = value}` or
    as in JSON, and only those that change; prompts as tables by part, or as in JSON, and all of
    them."""
    name = fields.get("name", choice.name)
    settings = {s.name: s.value for s in choice.settings} if name == choice.name else {}
    given = fields.get("settings", {})
    try:
        if not isinstance(given, Mapping):
            given = {setting["name"]: setting["value"] for setting in given}
        settings |= given
        prompts = choice.prompts if name == choice.name else ()
        if "prompts" in fields:
            prompts = read_prompts(fields["prompts"], name, settings)
        return make_environment(name, settings, prompts), prompts
    except (TypeError, KeyError):
        raise ConfigError(
            "environment.settings: write names and integers, as in settings = {levels = 6}, and "
            "the environment's name as text"
        ) from None
    except ValueError as error:
        raise ConfigError(str(error)) from None


def make_identity(
    genesis_hash: bytes, netuid: int, owner_uid: int, trainer: bytes, genesis_checkpoint: bytes
) -> Identity:
    """Identity of a network in which nothing is burned."""
    return Identity(
        version=PROTOCOL_VERSION,
        genesis_hash=genesis_hash,
        netuid=netuid,
        owner_uid=owner_uid,
        burn_share=0,
        trainer=trainer,
        genesis_checkpoint=genesis_checkpoint,
    )


def make_demo_parameters(
    genesis_hash: bytes,
    beacon: BeaconChain,
    owner_uid: int,
    trainer: bytes,
    genesis_checkpoint: bytes,
) -> Parameters:
    """The demo's parameters for a simulated chain, which burn nothing."""
    preset = PRESETS["demo"]
    identity = make_identity(genesis_hash, NETUID, owner_uid, trainer, genesis_checkpoint)
    return make_parameters(preset.timing, preset, identity, beacon, DEMO_ENVIRONMENT)
