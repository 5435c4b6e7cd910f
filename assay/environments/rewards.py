"""What an answer is worth: the reward of its parts, less what its length costs.

Specification, section 9. Rewards are integers in millionths; no float is ever involved.
"""

from collections.abc import Collection

from assay.environments.base import RewardParts
from assay.protocol.parameters import MILLION, Rewards
from assay.protocol.reward_terms import compute_loss_of_length, say_share


def compute_reward(parts: RewardParts, tokens: int, rewards: Rewards, max_tokens: int) -> int:
    """The reward of a completion in millionths, 0 to 1,000,000.

    Args:
        tokens: of the completion, its end token included.
        max_tokens: of the parameters.
    """
    floor = rewards.satisfaction_floor
    satisfaction = max(0, parts.satisfaction - floor) * MILLION // (MILLION - floor)
    earned = (
        parts.correctness * rewards.correctness_weight
        + parts.quality * rewards.quality_weight
        + satisfaction * rewards.satisfaction_weight
        + parts.format * rewards.format_weight
    )
    return earned * (MILLION - compute_loss_of_length(tokens, rewards, max_tokens)) // MILLION**2


def choose_rewards(rated: Collection[str]) -> Rewards:
    """The rewards of a preset for an environment that rates these parts: correctness earns all
    where nothing can earn quality."""
    if "quality" in rated:
        return Rewards()
    return Rewards(correctness_weight=MILLION, quality_weight=0)


def list_unearned(rewards: Rewards, rated: Collection[str]) -> list[str]:
    """What an owner may not expect of rewards for an environment that rates these parts."""
    notes = []
    if rewards.quality_weight and "quality" not in rated:
        notes.append(
            f"nothing here earns the {say_share(rewards.quality_weight)} for the steps (quality)"
        )
    if rewards.satisfaction_weight and "satisfaction" not in rated:
        notes.append(
            "nothing here meets a task in parts: satisfaction_weight pays as correctness_weight "
            "does (programs need the setting partial = 1)"
        )
    elif "satisfaction" in rated and rewards.satisfaction_weight and not rewards.satisfaction_floor:
        notes.append(
            "parts pay from the first one on: `assay env vet NAME` says what answers without "
            "thought earn, and satisfaction_floor keeps it from them"
        )
    return notes
