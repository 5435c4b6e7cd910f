"""Models that the gauntlet measures on: the shipped one, a bench model of high entropy, and the
models that a cheat would run instead. Built once into a folder, about two minutes on two cores."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import copytree

from transformers import PreTrainedModel

from assay.environments.registry import make_environment
from assay.inference.folder import MANIFEST_FILE
from assay.inference.model_loading import load_model
from assay.protocol.parameters import Work
from assay.subnet.adoption.adopt import make_folder
from assay.subnet.genesis_checkpoint import make_genesis
from assay.subnet.presets import DEMO_WORK
from assay.training import GENESIS
from assay.training.genesis_model import save_model
from assay.training.pretrain import PretrainConfig, pretrain
from assay.training.text_model import TextConfig, train_text_model

SHIPPED, BENCH = "shipped", "bench"
#: The shipped model, calibrated for a network of `EPISODES_WORK`.
EPISODES = "episodes"
EPISODES_WORLD, EPISODES_LEVELS = "guess", (1, 3, 5)
EPISODES_WORK = replace(
    DEMO_WORK, max_tokens=96, turns=6, context=480, reply_bytes=64, paid_reply=4_000
)
#: Every completion of the bench model has this many tokens: it never draws the end token.
BENCH_TOKENS = 128


#: Folder → the training settings of its model.
_CONFIGS: Mapping[str, TextConfig | PretrainConfig] = {
    "bench": TextConfig(),
    "bench-smaller": TextConfig(seed=2, hidden=48, layers=2, inner=128),
    "bench-sibling": TextConfig(seed=1),
    "bench-foreign": TextConfig(lexicon=1, seed=3),
    "shipped-smaller": PretrainConfig(steps=250, seed=2, hidden=48, layers=2, inner=128),
    "shipped-sibling": PretrainConfig(steps=250, seed=1),
}


@dataclass(frozen=True, slots=True)
class Family:
    """A checkpoint and the models that are available to a cheat."""

    name: str
    folder: Path  # of the checkpoint, manifest included
    #: role → model over the same vocabulary; roles whose model was not built are absent
    others: Mapping[str, PreTrainedModel]


def build_models(cache: Path) -> None:
    """Train and save the missing models."""
    for name, config in _CONFIGS.items():
        folder = cache / name
        if not (folder / "model.safetensors").exists():
            print(f"building {folder}", file=sys.stderr, flush=True)
            if isinstance(config, TextConfig):
                save_model(train_text_model(config), folder)
            else:
                pretrain(config, folder)
    if not (cache / "bench" / MANIFEST_FILE).exists():
        make_genesis(cache / "bench", BENCH_TOKENS)
    make_episodes(cache / EPISODES)


def make_episodes(folder: Path, work: Work = EPISODES_WORK) -> None:
    """Make the checkpoint of a network of episodes with these rules, if it is missing."""
    if not folder.exists():
        with make_folder(folder) as temporary:
            copytree(GENESIS, temporary, dirs_exist_ok=True)
            make_genesis(
                temporary,
                work.max_tokens,
                make_environment(EPISODES_WORLD, {}),
                EPISODES_LEVELS,
                work=work,
            )


def open_family(name: str, cache: Path) -> Family:
    """Open a family as far as it is built.

    Raises:
        CheckpointError: a model's folder is damaged.
    """
    folder = GENESIS if name == SHIPPED else cache / name
    folders = {
        role: cache / f"{name}-{role}"
        for role in ("smaller", "sibling", "foreign")
        if f"{name}-{role}" in _CONFIGS
    }
    if name == SHIPPED:
        folders["foreign"] = cache / "bench"
    others = {
        role: load_model(path)
        for role, path in folders.items()
        if (path / "model.safetensors").exists()
    }
    return Family(name, folder, others)
