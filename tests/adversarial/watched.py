"""A validator and a trainer driven block by block, and checkpoints published by hand."""

import json
import shutil
from dataclasses import replace

from safetensors.torch import save_file

from assay.artifacts.database import Database
from assay.inference.folder import digest_tensors
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.neurons.validator.validator import Validator
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.encoding import to_json
from assay.protocol.manifest import compute_tensor_root
from assay.protocol.window import Phase, compute_block


class Watched:
    """A validator with all its publications, driven block by block together with the miners."""

    def __init__(self, world, name="validator", database=None, ahead=None, threads=None):
        self.world = world
        self.windows, self.settlements = [], []
        self.validator = Validator(
            world.hotkeys[name],
            world.history,
            world.sources,
            database or Database(),
            lambda context: None,
            self.windows.append,
            self.take_settlement,
            ahead=ahead,
            threads=threads,
        )

    def take_settlement(self, settlement):
        self.settlements.append(settlement)

    def run_to_settlement(self, count=1):
        while len(self.settlements) < count:
            self.world.mint()
            while self.validator.step():
                pass

    def run_to_settlement_of(self, window):
        due = compute_block(self.world.parameters.timing, window, Phase.VERDICT_END)
        while self.world.chain.get_head() <= due or self.validator.step():
            if self.world.chain.get_head() <= due:
                self.world.mint()

    def audit(self, window):
        return self.validator.judged_windows[window]


def teach_once(world, config):
    lessons = []
    trainer = Trainer(
        world.hotkeys["trainer"],
        world.history,
        world.sources,
        TrainerConfig(config, "test:store", last_window=0),
        lessons.append,
        print,
    )
    while not lessons:
        world.mint()
        while trainer.step():
            pass
    return lessons


def publish(world, digest):
    commitment = Commitment(Tag.CHECKPOINT, 1, 0, digest, "test:store")
    world.chain.set_commitment(world.hotkeys["trainer"], encode_commitment(commitment))


def publish_by_hand(world, weights):
    """A folder whose digest is right and whose weights are not."""
    folder = world.folder / "by-hand"
    shutil.copytree(world.checkpoint.folder, folder)
    save_file(weights, folder / "model.safetensors")
    manifest = replace(
        world.checkpoint.manifest, tensors=compute_tensor_root(digest_tensors(folder))
    )
    (folder / "manifest.json").write_text(json.dumps(to_json(manifest)))
    world.sources.checkpoints.add(folder, manifest.digest)
    return manifest.digest
