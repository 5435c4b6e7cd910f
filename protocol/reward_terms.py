"""The parameters' rewards: what a completion loses by its length, and all of them in words.

Specification, section 9.
"""

from assay.protocol.parameters import Rewards


def compute_loss_of_length(tokens: int, rewards: Rewards, max_tokens: int) -> int:
    """The share of its reward that a completion loses by its length, millionths."""
    tokens = min(tokens, max_tokens)
    loss = rewards.length_penalty * tokens // max_tokens
    over = tokens - (max_tokens - rewards.overlong_tokens)
    if over > 0:
        loss += rewards.overlong_penalty * over // rewards.overlong_tokens
    return loss


def describe_rewards(rewards: Rewards, max_tokens: int) -> list[str]:
    """What pays and what costs, a sentence each."""
    said = [
        f"{say_share(weight)} {what}"
        for weight, what in (
            (rewards.correctness_weight, "if the answer is right"),
            (rewards.quality_weight, "for the steps before it"),
            (rewards.satisfaction_weight, f"for the parts that it meets{_say_floor(rewards)}"),
            (rewards.format_weight, "if an answer can be read"),
        )
        if weight
    ]
    if rewards.length_penalty:
        lost = say_share(rewards.length_penalty)
        said.append(f"a completion of {max_tokens:,} tokens loses {lost}, a shorter one less")
    if rewards.overlong_penalty:
        first, lost = max_tokens - rewards.overlong_tokens, say_share(rewards.overlong_penalty)
        said.append(
            f"a completion of more than {first:,} tokens loses more with each, {lost} at "
            f"{max_tokens:,}"
        )
    return said


def _say_floor(rewards: Rewards) -> str:
    floor = rewards.satisfaction_floor
    return f" beyond {say_share(floor)} of them" if floor else ""


def say_share(millionths: int) -> str:
    """A share in percent."""
    return f"{millionths / 10_000:g} %"
