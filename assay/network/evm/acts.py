"""What an operator does with a ledger: deploys it, binds a hotkey, looks a post up, proves a score.

Each takes a request, whose parts are open, and returns what came of it. Raises EvmError: no node
answers, it is too expensive, or refused. WrongChainError: the node is of another chain.
UnknownOutcomeError: it was sent and is not on chain.
"""

from collections.abc import Callable
from dataclasses import dataclass

from assay.network.consent import Consent
from assay.network.evm.contracts import (
    LEDGER,
    EvmError,
    LedgerEntry,
    load_artifact,
    make_ledger_entry,
)
from assay.network.evm.deployment import (
    BIND_GAS_MAX,
    DEPLOY_GAS_MAX,
    Deployed,
    bind_hotkey,
    deploy_contracts,
)
from assay.network.evm.key import EvmKey
from assay.network.evm.node import EvmNode, EvmReceipt, format_wei
from assay.network.evm.score_ledger import Binding, PostedSettlement, ScoreLedger, WeightsFound
from assay.protocol.record import SettlementRecord
from assay.protocol.score_tree import make_score_tree
from assay.protocol.ss58 import encode_ss58


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """Deploy both contracts through a node.

    Attributes:
        open_key: the key that pays; asked for once somebody has agreed.
        confirmations: blocks on top of a receipt's.
    """

    node: EvmNode
    open_key: Callable[[], EvmKey]
    confirmations: int


@dataclass(frozen=True, slots=True)
class BindRequest:
    """Let an address post for a hotkey.

    Attributes:
        hotkey: 32 bytes.
        poster: the address, that of `open_key`'s key.
        sign: the hotkey's sr25519 signature over 32 bytes.
        open_key, confirmations: as for a deployment.
    """

    ledger: ScoreLedger
    hotkey: bytes
    poster: str
    sign: Callable[[bytes], bytes]
    open_key: Callable[[], EvmKey]
    confirmations: int


@dataclass(frozen=True, slots=True)
class Bound:
    """Who posts for a hotkey now; `receipt` is None if it did before, and nothing was sent."""

    hotkey: bytes
    poster: str
    receipt: EvmReceipt | None


@dataclass(frozen=True, slots=True)
class PostRequest:
    """Look for a validator's post of a settlement.

    Attributes:
        hotkey: the validator's.
        epoch: the settlement's epoch block.
        uid: the validator's, to compare its weights on chain with the posted ones; None: do not.
        weights_check: address of a WeightsCheck, which a uid needs.
    """

    ledger: ScoreLedger
    hotkey: bytes
    epoch: int
    uid: int | None = None
    weights_check: str | None = None


@dataclass(frozen=True, slots=True)
class PostFound:
    """What a ledger holds of a settlement. `digest` is None if nothing is posted; `posted` too if
    no event of it is found."""

    netuid: int
    digest: bytes | None
    binding: Binding
    posted: PostedSettlement | None
    weights: WeightsFound | None


@dataclass(frozen=True, slots=True)
class ScoreClaim:
    """That a validator has posted a score: what its record lets one claim, see `claim_score`."""

    validator: bytes
    epoch: int
    entry: LedgerEntry
    miner: bytes
    score: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ProofAnswer:
    """The contract's answer, and the call of `verifyScore` that anybody can repeat."""

    is_proven: bool
    call: str


def deploy(request: DeployRequest, consent: Consent) -> Deployed:
    """Deploy a ledger, and a weights' check over it."""
    node = request.node
    most = _quote(node, 2 * DEPLOY_GAS_MAX)
    consent(f"Deploy both contracts on chain {node.chain_id}, for {most}?")
    return deploy_contracts(node, request.open_key(), request.confirmations)


def bind(request: BindRequest, consent: Consent) -> Bound:
    """Let the address post for the hotkey, instead of any earlier one, unless it does already."""
    ledger, hotkey = request.ledger, request.hotkey
    before = ledger.get_binding(hotkey)
    if before.poster == request.poster:
        return Bound(hotkey, before.poster, None)
    name = encode_ss58(hotkey)
    instead = "" if before.poster is None else f", instead of {before.poster}"
    most = _quote(ledger.node, BIND_GAS_MAX)
    consent(f"Let {request.poster} post for {name}{instead}, for {most}?")
    key = request.open_key()
    receipt = bind_hotkey(ledger, key, hotkey, request.sign, request.confirmations)
    return Bound(hotkey, key.address, receipt)


def find_post(request: PostRequest) -> PostFound:
    """What a validator has posted for a settlement, and whether its weights on chain match."""
    ledger, hotkey, epoch = request.ledger, request.hotkey, request.epoch
    digest = ledger.get_digest(hotkey, epoch)
    binding = ledger.get_binding(hotkey)
    posted = ledger.find_posted(hotkey, epoch) if any(digest) else None
    weights = None
    if posted is not None and request.uid is not None:
        check = request.weights_check
        if check is None:
            raise EvmError("which WeightsCheck? name it under [ledger], weights_check")
        weights = ledger.check_weights(check, request.uid, hotkey, epoch, posted.entry)
    return PostFound(ledger.netuid, digest if any(digest) else None, binding, posted, weights)


def claim_score(record: SettlementRecord, miner: bytes, score: int | None = None) -> ScoreClaim:
    """What to ask the contract about a miner's score in a record; `score`: None: the record's own.
    Raises EvmError: the record has none."""
    scores = {row.hotkey: row.score for row in record.scores}
    entry = make_ledger_entry(record)
    if entry is None or miner not in scores:
        raise EvmError(f"the record of epoch {record.epoch} has no score of {encode_ss58(miner)}")
    proof = tuple(make_score_tree(list(scores.items())).get_proof(miner))
    claimed = scores[miner] if score is None else score
    return ScoreClaim(record.validator, record.epoch, entry, miner, claimed, proof)


def prove_score(ledger: ScoreLedger, claim: ScoreClaim) -> ProofAnswer:
    """Ask the contract whether the record, and the score in it, were posted."""
    is_proven = ledger.is_score_proven(
        claim.validator, claim.epoch, claim.entry, claim.miner, claim.score, claim.proof
    )
    contract = ledger.node.open_contract(load_artifact(LEDGER), ledger.address)
    entry, proof = claim.entry.to_abi(), list(claim.proof)
    whose = [ledger.netuid, claim.validator, claim.epoch]
    call = contract.encode_abi("verifyScore", [*whose, entry, claim.miner, claim.score, proof])
    return ProofAnswer(is_proven, call)


def _quote(node: EvmNode, gas: int) -> str:
    """The highest cost of this much gas, for people."""
    node.require_chain()
    return f"at most {format_wei(gas * node.get_price())}"
