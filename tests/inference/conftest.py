"""The shipped model, loaded once."""

from collections.abc import Callable, Iterable

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from assay.environments.registry import make_environment
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.generate import GroupRequest
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.submission import Rollout
from assay.subnet.presets import DEMO_ENVIRONMENT, DEMO_SETTINGS
from assay.training import GENESIS
from assay.verification import Projection, make_projection


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    torch.set_num_threads(1)
    return load_checkpoint(GENESIS)


@pytest.fixture(scope="session")
def projection(checkpoint: Checkpoint) -> Projection:
    return make_projection(hash_fields(Domain.PROJECTION, b"test"), checkpoint.manifest)


@pytest.fixture(scope="session")
def requests(checkpoint: Checkpoint) -> list[GroupRequest]:
    return make_group_requests(checkpoint)


def make_group_requests(checkpoint: Checkpoint) -> list[GroupRequest]:
    """Six problems of unequal prompts, four rollouts each."""
    environment = make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    requests = []
    for index in range(6):
        seed = hash_fields(Domain.PROBLEM, b"test", bytes([index]))
        problem = environment.make_problem(seed, checkpoint.manifest.level_numbers)
        seeds = tuple(hash_fields(Domain.ROLLOUT, seed, bytes([r])) for r in range(4))
        requests.append(
            GroupRequest(tuple(checkpoint.tokenizer.encode(problem.conversation)), seeds)
        )
    assert len({len(request.prompt) for request in requests}) > 1
    return requests


def list_ids(groups: Iterable[Iterable[Rollout]]) -> list[list[list[int]]]:
    """The ids of each rollout of some groups."""
    return [[rollout.tokens.tolist() for rollout in group] for group in groups]


def build_random_model(
    kind: str = "qwen2",
    hidden: int = 64,
    layers: int = 2,
    *,
    logit_std: float = 3.0,
    enlarge: float = 1.0,
    **changes: object,
) -> PreTrainedModel:
    """In fp32; biases and norms are random, too.

    Args:
        logit_std: of its logits; reached by the output matrix, so not where it is tied.
        enlarge: what the matrices inside are multiplied by, for models harsher than real ones.
    """
    torch.manual_seed(hidden)
    settings = {
        "vocab_size": 512,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": max(4, hidden // 64),
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
    } | changes
    if kind != "qwen2":
        settings["head_dim"] = 32
    config = CONFIG_MAPPING[kind](**settings)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    model = model.eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.add_(0.1 * torch.randn_like(parameter))
        elif "bias" in name:
            parameter.normal_(0, 0.1)
        elif "_proj" in name:
            parameter.mul_(enlarge)
    if not model.config.tie_word_embeddings:
        logits = model(torch.arange(64)[None]).logits
        model.lm_head.weight.mul_(logit_std / logits.std())
    for parameter in model.parameters():
        parameter.copy_(parameter.to(torch.bfloat16).float())
    return model


@pytest.fixture(scope="session")
def make_random_model() -> Callable[..., PreTrainedModel]:
    """Random models whose weights are bf16 numbers, as checkpoints store them."""
    return build_random_model
