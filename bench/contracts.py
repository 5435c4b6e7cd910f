"""The ledger on an EVM of this machine: gas from real receipts, and the time of a settlement.

It needs `make contracts`. Precompiles are mocked, because their gas depends on the chain alone.
"""

import sys
import time
from contextlib import closing
from pathlib import Path

from figures import Figure, report

from assay.artifacts.database import Database
from assay.network.evm import LedgerEntry, LedgerPoster
from assay.network.evm.contracts import LEDGER, load_artifact
from assay.neurons.validator.post_outbox import PostOutbox, list_posts
from assay.protocol.score_tree import compute_weights_digest, keccak256, make_score_tree
from assay.session.chain_delivery import DeliveryState

sys.path.append(str(Path(__file__).parents[1]))
from tests.integration.evm.anvil import BINARY, NETUID, Anvil, Stage

MINERS = 256
DEPTH = 8
CONFIRMATIONS = 6
EPOCH = 5


def settle(stage: Stage) -> tuple[LedgerEntry, float]:
    """A settlement's entry, and the seconds from its scores until the contract has verified all of
    them."""
    started = time.perf_counter()
    scores = [(keccak256(bytes([uid])), 86_000_000 + uid) for uid in range(MINERS)]
    weights = compute_weights_digest([(uid, 65_535 - uid) for uid in range(MINERS)])
    tree = make_score_tree(scores)
    entry = LedgerEntry(tree.root, keccak256(b"record"), keccak256(b"model"), 77, weights)
    poster = LedgerPoster(stage.ledger, stage.key, stage.hotkey.public)
    with closing(Database()) as database:
        outbox = PostOutbox(database, poster, CONFIRMATIONS)
        outbox.put(EPOCH, entry)
        outbox.step()
        stage.anvil.mine(1 + CONFIRMATIONS)
        outbox.step()
        (row,) = list_posts(database, 9)
        assert row.state is DeliveryState.CONFIRMED
        assert row.post is not None
    for hotkey, score in scores:
        assert stage.ledger.is_score_proven(
            stage.hotkey.public, EPOCH, entry, hotkey, score, tree.get_proof(hotkey)
        )
    return entry, time.perf_counter() - started


def measure_gas(stage: Stage, entry: LedgerEntry) -> dict[str, int]:
    """Gas of a post, by its receipt, and of a proof, as a call with its 21,000."""
    poster = LedgerPoster(stage.ledger, stage.key, stage.hotkey.public)
    signed = poster.sign(EPOCH + 1, entry, poster.get_nonce(pending=True))
    poster.send(signed)
    post = stage.node.await_receipt(signed, 0, 10.0)
    tree = make_score_tree([(keccak256(bytes([i])), 86_000_000 + i) for i in range(MINERS)])
    hotkey = keccak256(bytes([7]))
    proof = list(tree.get_proof(hotkey))
    assert len(proof) == DEPTH
    contract = stage.node.open_contract(load_artifact(LEDGER), stage.ledger.address)
    verify = contract.functions.verifyScore(
        NETUID, stage.hotkey.public, EPOCH, entry.to_abi(), hotkey, 86_000_007, proof
    ).estimate_gas()
    deployed = sum(receipt.gas_used for receipt in stage.deployed.receipts)
    return {"post": post.gas_used, "verify": verify, "deploy": deployed}


def main() -> None:
    if not BINARY.exists():
        print("contracts are not built here: make contracts")
        return
    anvil = Anvil()
    try:
        started = time.perf_counter()
        stage = Stage(anvil)
        founding = time.perf_counter() - started
        with closing(stage):
            entry, seconds = settle(stage)
            gas = measure_gas(stage, entry)
    finally:
        anvil.close()
    report(
        f"contracts: {MINERS} miners, on anvil",
        [
            Figure("post a settlement", gas["post"], "gas", bound=70_000),
            Figure("bind a hotkey", stage.bound.gas_used, "gas", bound=120_000),
            Figure(f"verify a score at depth {DEPTH}", gas["verify"], "gas", bound=45_000),
            Figure("deploy both", gas["deploy"], "gas"),
            Figure("deploy, bind", founding, "s"),
            Figure("from scores to all verified", seconds, "s", bound=10),
        ],
        threads=1,
    )


if __name__ == "__main__":
    main()
