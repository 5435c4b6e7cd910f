"""Attacks on the worlds of Assay's own that an environment has."""

from assay.environments.base import Environment
from assay.environments.foreign.vet_report import PROBLEMS, VetCheck
from assay.environments.foreign.world_vetting import OwnWorlds, attack_worlds
from assay.environments.mixture import Mixture
from assay.environments.prompting import PromptedEnvironment
from assay.environments.worlds.world import WorldEnvironment


def list_worlds(environment: Environment) -> list[WorldEnvironment]:
    """The parts whose worlds reply, without the owner's words. Those of packages are not among
    them: vetting of the package's file attacks them."""
    parts = environment.parts if isinstance(environment, Mixture) else (environment,)
    bare = (part.inner if isinstance(part, PromptedEnvironment) else part for part in parts)
    return [part for part in bare if isinstance(part, WorldEnvironment)]


def attack_own_worlds(environment: WorldEnvironment, problems: int = PROBLEMS) -> list[VetCheck]:
    """The checks that worlds must pass, under the environment's name: see `attack_worlds`."""
    worlds = OwnWorlds(environment)
    return [
        VetCheck(f"{environment.name}: {check.name}", check.passed, check.detail)
        for check in attack_worlds(worlds, worlds, problems)
    ]
