"""The model of a demo of episodes knows the form of a turn, and little of what replies mean."""

from pathlib import Path

import torch

from assay.environments.registry import open_environment
from assay.inference.checkpoint import load_checkpoint
from assay.inference.model_loading import load_model
from assay.subnet.presets import EPISODES_RECIPE
from assay.subnet.recipe import read_recipe
from assay.training import GENESIS
from assay.training.first_turns import teach_first_turns


def test_a_turn_is_a_digit_and_an_end(tmp_path: Path) -> None:
    """Even few steps move most of the probability from words of sums to the ten digits."""
    recipe = read_recipe(EPISODES_RECIPE)
    rules, genesis = recipe.make_rules(), load_checkpoint(GENESIS)
    environment = open_environment(rules.environment)
    teach_first_turns(genesis, environment, 1, rules.work, tmp_path / "model", steps=20)
    problem = environment.make_problem(bytes(32), [1])
    prompt = torch.tensor([genesis.tokenizer.encode(problem.conversation)])
    digits = [genesis.tokenizer.encode_text(str(digit))[0] for digit in range(10)]
    end = genesis.manifest.end_tokens[0]
    before, after = genesis.model, load_model(tmp_path / "model")
    chances = [
        model(torch.cat([prompt, torch.tensor([[digits[4]]])], 1)).logits[0, -2:].softmax(-1)
        for model in (before, after)
    ]
    first, second = (float(each[0, digits].sum() * each[1, end]) for each in chances)
    assert second > 2 * first
    assert second > 0.3
