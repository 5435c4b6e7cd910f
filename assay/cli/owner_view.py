"""What `assay subnet publish` and `amend` print. Loads PyTorch."""

from assay.cli.console import print_result
from assay.protocol.reward_terms import describe_rewards
from assay.subnet.amend import Amended, Withdrawn
from assay.subnet.publish import PublishedNetwork


def show_published(published: PublishedNetwork, as_json: bool) -> None:
    """Show a published network."""
    parameters, netuid = published.parameters, published.netuid
    digest = parameters.digest.hex()
    rewards = describe_rewards(parameters.rewards, parameters.work.max_tokens)
    document = {
        "netuid": netuid,
        "parameters": digest,
        "locator": published.locator,
        "block": published.block,
        "checkpoint": parameters.identity.genesis_checkpoint.hex(),
        "rewards": rewards,
        "calibration": None if published.findings is None else published.findings.to_json(),
    }
    text = f"subnet {netuid} has parameters {digest[:16]}…, seen in block {published.block}"
    paid = f"rewards: {'; '.join(rewards)}"
    print_result(document, as_json, f"{text}; `assay subnet show` shows them\n{paid}")


def show_amended(amended: Amended, as_json: bool) -> None:
    """Show announced parameters."""
    announced = amended.announced
    document = announced.to_json() | {
        "netuid": amended.netuid,
        "seen_at": amended.block,
        "checkpoint": announced.parameters.start.checkpoint.hex(),
    }
    text = (
        f"parameters {announced.describe()}; seen in block {amended.block}. Until block "
        f"{announced.decided_at} you can withdraw them: `assay subnet amend --withdraw`"
    )
    print_result(document, as_json, text)


def show_withdrawn(withdrawn: Withdrawn, as_json: bool) -> None:
    """Show which parameters stay in force."""
    digest, block = withdrawn.digest.hex(), withdrawn.block
    document = {"netuid": withdrawn.netuid, "digest": digest, "seen_at": block}
    text = f"parameters {digest[:16]}… stay in force, as of block {block}"
    print_result(document, as_json, text)
