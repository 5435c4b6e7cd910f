"""What an answer is worth: the reward of its parts, what its length costs, and both in words.

Specification, section 9. Rewards are integers in millionths; no float is ever involved.
"""

from assay.environments.base import Environment, RewardParts
from assay.protocol.parameters import MILLION, Rewards


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


def compute_loss_of_length(tokens: int, rewards: Rewards, max_tokens: int) -> int:
    """The share of its reward that a completion loses by its length, millionths."""
    tokens = min(tokens, max_tokens)
    loss = rewards.length_penalty * tokens // max_tokens
    over = tokens - (max_tokens - rewards.overlong_tokens)
    if over > 0:
        loss += rewards.overlong_penalty * over // rewards.overlong_tokens
    return loss


def choose_rewards(environment: Environment) -> Rewards:
    """The rewards of a preset: correctness earns all where nothing can earn quality."""
    if "quality" in environment.rated:
        return Rewards()
    return Rewards(correctness_weight=MILLION, quality_weight=0)


def describe_rewards(rewards: Rewards, max_tokens: int) -> list[str]:
    """What pays and what costs, a sentence each."""
    said = [
        f"{_say_share(weight)} {what}"
        for weight, what in (
            (rewards.correctness_weight, "if the answer is right"),
            (rewards.quality_weight, "for the steps before it"),
            (rewards.satisfaction_weight, f"for the parts that it meets{_say_floor(rewards)}"),
            (rewards.format_weight, "if an answer can be read"),
        )
        if weight
    ] or ["nothing earns a reward"]
    if rewards.length_penalty:
        lost = _say_share(rewards.length_penalty)
        said.append(f"a completion of {max_tokens:,} tokens loses {lost}, a shorter one less")
    if rewards.overlong_penalty:
        first, lost = max_tokens - rewards.overlong_tokens, _say_share(rewards.overlong_penalty)
        said.append(f"tokens beyond {first:,} lose up to {lost} of the reward, at {max_tokens:,}")
    return said


def _say_floor(rewards: Rewards) -> str:
    floor = rewards.satisfaction_floor
    return f" beyond {_say_share(floor)} of them" if floor else ""


def _say_share(millionths: int) -> str:
    return f"{millionths / 10_000:g} %"
