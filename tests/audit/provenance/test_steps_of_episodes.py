"""A step that learns from episodes: written, read back, derived again and learned."""

from dataclasses import replace

import pytest

from assay.artifacts.steps.file import ConsumedGroup, open_step_parser, read_groups, write_groups
from assay.artifacts.steps.folder import make_record
from assay.artifacts.steps.groups import generate_own
from assay.audit.provenance.consumed import find_false_group, make_problem_of, replay_group
from assay.audit.provenance.step_export import _describe_spans
from assay.inference import load_checkpoint
from assay.inference.passages import decode_passages, encode_passages, sample_passages
from assay.protocol.episode import Reply
from assay.protocol.parameters import EnvironmentChoice
from assay.subnet.presets import make_demo_parameters
from assay.training import GENESIS, LearnConfig, Learner
from assay.training.held_out import count_successes

TURNS = 4
MINER = b"m" * 32


@pytest.fixture(scope="module")
def checkpoint():
    genesis = load_checkpoint(GENESIS)
    level = replace(genesis.manifest.levels[0], level=1)
    return replace(genesis, manifest=replace(genesis.manifest, levels=(level,)))
