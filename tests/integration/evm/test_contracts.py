"""The contracts through our own client: what an operator and an auditor meet.

Who may do what is tested in contracts/test, in Solidity; here it is what comes back that counts.
"""

import json
import re
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace

import pytest

from assay.network.chain.errors import ChainError, WrongChainError
from assay.network.evm import (
    Binding,
    EvmError,
    EvmNode,
    EvmReceipt,
    LedgerEntry,
    LedgerPoster,
    RevertedError,
    ScoreLedger,
    bind_hotkey,
    compute_binding_message,
    deployment,
)
from assay.network.evm.contracts import LEDGER, WEIGHTS_CHECK, load_artifact
from assay.protocol.score_tree import compute_weights_digest, keccak256, make_score_tree
from tests.integration.evm.anvil import CHAIN_ID, CONTRACTS, NETUID, SR25519, STORAGE, Hotkey, Stage

EPOCH = 4_321
MINERS = [(keccak256(bytes([i])), 1_000 * i) for i in range(200)]
TREE = make_score_tree(MINERS)
WEIGHTS = [(0, 65_535), (5, 1), (258, 300)]
ENTRY = LedgerEntry(
    TREE.root, keccak256(b"record"), keccak256(b"model"), 77, compute_weights_digest(WEIGHTS)
)
UID = 258
_PREFIX = "658faa385070e074c85bf6b568cf0555"
WEIGHTS_KEY = bytes.fromhex(_PREFIX + "a1e7036061f484bc3048a64b64e35ec4")
KEYS_KEY = bytes.fromhex(_PREFIX + "9f99a2ce711f3a31b2fc05604c93f179")


def post(stage: Stage, entry: LedgerEntry = ENTRY, epoch: int = EPOCH) -> None:
    poster = LedgerPoster(stage.ledger, stage.key, stage.hotkey.public)
    signed = poster.sign(epoch, entry, poster.get_nonce(pending=True))
    poster.send(signed)
    stage.node.await_receipt(signed, 0, 10.0)
    assert poster.get_digest(epoch) == entry.digest


def seat() -> bytes:
    return NETUID.to_bytes(2, "little") + UID.to_bytes(2, "little")


def encode_weights(pairs: list[tuple[int, int]]) -> bytes:
    body = b"".join(u.to_bytes(2, "little") + w.to_bytes(2, "little") for u, w in pairs)
    return bytes([len(pairs) << 2]) + body


def test_a_score_is_proven_and_no_other(stage: Stage) -> None:
    post(stage)
    for miner, score in MINERS[::17]:
        proof = TREE.get_proof(miner)

        def proven(miner: bytes, score: int, proof: tuple[bytes, ...] = proof) -> bool:
            return stage.ledger.is_score_proven(
                stage.hotkey.public, EPOCH, ENTRY, miner, score, proof
            )

        assert proven(miner, score)
        assert not proven(miner, score + 1)
        assert not proven(keccak256(b"absent"), score)
        assert not proven(proof[0], int.from_bytes(proof[1], "big"), proof[2:])  # an inner node
    assert not stage.ledger.is_score_proven(
        stage.hotkey.public, EPOCH + 1, ENTRY, *MINERS[0], TREE.get_proof(MINERS[0][0])
    )


def test_the_event_gives_the_entry_back(stage: Stage) -> None:
    post(stage)
    posted = stage.ledger.find_posted(stage.hotkey.public, EPOCH)
    assert posted is not None
    assert posted.entry == ENTRY
    assert stage.ledger.find_posted(stage.hotkey.public, EPOCH + 1) is None
    # from the epoch's own block on, where it is one of this chain
    stage.anvil.mine(3_000)
    head = stage.node.get_head()
    post(stage, epoch=head - 1_500)
    assert stage.ledger.find_posted(stage.hotkey.public, head - 1_500, pages=2) is not None
    assert stage.ledger.find_posted(stage.hotkey.public, head - 1_500, pages=1) is None


def test_the_event_is_found_by_the_documents_topics(stage: Stage) -> None:
    post(stage)
    document = (CONTRACTS.parent / "docs/contracts.md").read_text()
    (topic,) = set(re.findall(r"0x[0-9a-f]{64}", document))
    own = "0x" + stage.hotkey.public.hex()
    topics = [topic, f"0x{NETUID:064x}", own, f"0x{EPOCH:064x}"]
    where = {"address": stage.ledger.address, "fromBlock": "0x0", "toBlock": "latest"}
    (found,) = stage.anvil.rpc("eth_getLogs", where | {"topics": topics})
    words = (*ENTRY.to_abi()[:3], ENTRY.audit_round.to_bytes(32, "big"), ENTRY.weights_digest)
    assert bytes.fromhex(found["data"][2:]) == b"".join(words)


def test_gas_stays_within_what_was_promised(stage: Stage) -> None:
    poster = LedgerPoster(stage.ledger, stage.key, stage.hotkey.public)
    signed = poster.sign(EPOCH, ENTRY, poster.get_nonce(pending=True))
    poster.send(signed)
    receipt = stage.node.await_receipt(signed, 0, 10.0)
    assert receipt.gas_used <= 70_000
    assert stage.bound.gas_used <= 120_000
    deep = next(h for h, _ in MINERS if len(TREE.get_proof(h)) == 8)
    contract = stage.node.open_contract(load_artifact(LEDGER), stage.ledger.address)
    call = contract.functions.verifyScore(
        NETUID,
        stage.hotkey.public,
        EPOCH,
        ENTRY.to_abi(),
        deep,
        dict(MINERS)[deep],
        list(TREE.get_proof(deep)),
    )
    assert call.estimate_gas() <= 45_000


# --- binding


def test_python_and_the_contract_agree_on_the_message(stage: Stage) -> None:
    contract = stage.node.open_contract(load_artifact(LEDGER), stage.ledger.address)
    arguments = (stage.hotkey.public, stage.key.address, 3, 1_900_000_000)
    theirs = contract.functions.computeBindingMessage(*arguments).call()
    assert compute_binding_message(stage.ledger.address, CHAIN_ID, *arguments) == bytes(theirs)
    assert compute_binding_message(stage.ledger.address, 964, *arguments) != bytes(theirs)


def test_binding_again_replaces_the_poster(stage: Stage) -> None:
    other = stage.make_poor_key()
    bind_hotkey(stage.ledger, other, stage.hotkey.public, stage.hotkey.sign, 0)
    assert stage.ledger.get_binding(stage.hotkey.public) == Binding(other.address, 2)
    with pytest.raises(RevertedError, match=r"NotThePoster.*bind"):
        LedgerPoster(stage.ledger, stage.key, stage.hotkey.public).sign(EPOCH, ENTRY, 9)


def test_binding_of_someone_elses_hotkey(stage: Stage) -> None:
    mine, theirs = Hotkey(stage.anvil, "//Mine"), Hotkey(stage.anvil, "//Theirs")
    with pytest.raises(RevertedError, match="SignatureRefused"):
        bind_hotkey(stage.ledger, stage.key, theirs.public, mine.sign, 0)
    assert stage.ledger.get_binding(theirs.public) == Binding(None, 0)


def test_replayed_binding(stage: Stage) -> None:
    signatures: list[bytes] = []

    def sign(message: bytes) -> bytes:
        signatures.append(stage.hotkey.sign(message))
        return signatures[-1]

    bind_hotkey(stage.ledger, stage.key, stage.hotkey.public, sign, 0)
    with pytest.raises(RevertedError, match="SignatureRefused"):
        bind_hotkey(stage.ledger, stage.key, stage.hotkey.public, lambda m: signatures[0], 0)


def test_expired_binding(stage: Stage) -> None:
    def sign_slowly(message: bytes) -> bytes:
        stage.anvil.rpc("evm_increaseTime", deployment.SIGNATURE_S + 60)
        stage.anvil.mine()
        return stage.hotkey.sign(message)

    with pytest.raises(RevertedError, match=r"BindingExpired.*clock"):
        bind_hotkey(stage.ledger, stage.key, stage.hotkey.public, sign_slowly, 0)


@pytest.mark.parametrize("mock", ["", "Failing", "Garbage"])
def test_signature_precompile_absent_or_answering_garbage(stage: Stage, mock: str) -> None:
    stage.anvil.etch(SR25519, mock)
    with pytest.raises(RevertedError, match="PrecompileFailed"):
        bind_hotkey(stage.ledger, stage.key, stage.hotkey.public, stage.hotkey.sign, 0)


# --- posting


def test_foreign_poster(stage: Stage) -> None:
    stranger = stage.make_poor_key()
    with pytest.raises(RevertedError, match="NotThePoster"):
        LedgerPoster(stage.ledger, stranger, stage.hotkey.public).sign(EPOCH, ENTRY, 0)


def test_settlements_that_are_to_come(stage: Stage) -> None:
    """A stolen key would fill them for ever."""
    poster = LedgerPoster(stage.ledger, stage.key, stage.hotkey.public)
    with pytest.raises(RevertedError, match="EpochAhead"):
        poster.sign(stage.node.get_head() + 1_000, ENTRY, 9)


def test_zero_root_and_rewritten_settlement(stage: Stage) -> None:
    poster = LedgerPoster(stage.ledger, stage.key, stage.hotkey.public)
    zero = LedgerEntry(bytes(32), *ENTRY.to_abi()[1:])  # type: ignore[arg-type]
    with pytest.raises(RevertedError, match="ZeroRoot"):
        poster.sign(EPOCH, zero, 9)
    post(stage)
    for entry in (ENTRY, LedgerEntry(keccak256(b"better"), *ENTRY.to_abi()[1:])):  # type: ignore[arg-type]
        with pytest.raises(RevertedError, match=f"AlreadyPosted.*{ENTRY.digest.hex()}"):
            poster.sign(EPOCH, entry, 9)


def test_wrong_chain_id(stage: Stage) -> None:
    before = stage.node.get_head()
    node = EvmNode(stage.anvil.endpoint, 964)
    ledger = ScoreLedger(node, stage.ledger.address, NETUID)
    poster = LedgerPoster(ledger, stage.key, stage.hotkey.public)
    calls: list[Callable[[], object]] = [
        poster.get_head,
        lambda: deployment.deploy_contracts(node, stage.key, 0),
        lambda: bind_hotkey(ledger, stage.key, stage.hotkey.public, stage.hotkey.sign, 0),
        lambda: ledger.find_posted(stage.hotkey.public, EPOCH),
    ]
    for call in calls:
        with pytest.raises(WrongChainError, match=r"42.*964"):
            call()
    assert stage.node.get_head() == before
    # and a signature for one chain is refused by another
    signed = poster.sign(EPOCH, ENTRY, poster.get_nonce(pending=True))
    with suppress(EvmError):  # anvil takes it and includes it nowhere
        poster.send(signed)
    stage.anvil.mine(2)
    assert poster.get_digest(EPOCH) == bytes(32)
    node.close()


def test_no_money_no_contract_too_dear(stage: Stage) -> None:
    poor = stage.make_poor_key(1)
    with pytest.raises(EvmError, match="send TAO to its account"):
        bind_hotkey(stage.ledger, poor, stage.hotkey.public, stage.hotkey.sign, 0)
    nowhere = ScoreLedger(stage.node, "0x" + "ab" * 20, NETUID)
    with pytest.raises(EvmError, match="no contract"):
        bind_hotkey(nowhere, stage.key, stage.hotkey.public, stage.hotkey.sign, 0)
    with pytest.raises(EvmError):
        nowhere.get_digest(stage.hotkey.public, EPOCH)
    thrifty = EvmNode(stage.anvil.endpoint, CHAIN_ID, price_max=1)
    ledger = ScoreLedger(thrifty, stage.ledger.address, NETUID)
    with pytest.raises(EvmError, match="max_gas_price"):
        LedgerPoster(ledger, stage.key, stage.hotkey.public).sign(EPOCH, ENTRY, 9)
    thrifty.close()
    with pytest.raises(EvmError, match="is not an address"):
        ScoreLedger(stage.node, "0x12", NETUID)


# --- weights


def test_weights_on_chain_are_the_posted_or_not(stage: Stage) -> None:
    stage.anvil.put_storage(KEYS_KEY + seat(), stage.hotkey.public)
    post(stage)
    ledger, check = stage.ledger, stage.deployed.weights_check
    stage.anvil.put_storage(WEIGHTS_KEY + seat(), encode_weights([(9, 0), *reversed(WEIGHTS)]))
    found = ledger.check_weights(check, UID, stage.hotkey.public, EPOCH, ENTRY)
    assert (found.posted, found.equal, found.digest) == (True, True, ENTRY.weights_digest)
    stage.anvil.put_storage(WEIGHTS_KEY + seat(), encode_weights(WEIGHTS[1:]))
    found = ledger.check_weights(check, UID, stage.hotkey.public, EPOCH, ENTRY)
    assert (found.posted, found.equal) == (True, False)
    assert found.digest == compute_weights_digest(WEIGHTS[1:])
    assert not ledger.check_weights(check, UID, stage.hotkey.public, EPOCH + 1, ENTRY).posted


def test_storage_precompile_absent_or_answering_garbage(stage: Stage) -> None:
    check = stage.deployed.weights_check

    def ask() -> object:
        return stage.ledger.check_weights(check, UID, stage.hotkey.public, EPOCH, ENTRY)

    with pytest.raises(RevertedError, match="PrecompileFailed"):
        ask()  # nobody holds the uid
    stage.anvil.put_storage(KEYS_KEY + seat(), bytes(31) + b"\1")
    with pytest.raises(RevertedError, match="AnotherHotkey"):
        ask()
    stage.anvil.put_storage(KEYS_KEY + seat(), stage.hotkey.public)
    stage.anvil.put_storage(WEIGHTS_KEY + seat(), b"\x08\7\0\xff\xff")
    with pytest.raises(RevertedError, match="MalformedWeights"):
        ask()
    for mock in ("", "Failing", "Garbage"):
        stage.anvil.etch(STORAGE, mock)
        with pytest.raises(RevertedError, match="PrecompileFailed"):
            ask()


def test_a_check_over_another_ledger_is_not_asked(stage: Stage) -> None:
    other = deployment.deploy_contracts(stage.node, stage.key, 0)
    with pytest.raises(EvmError, match="another ledger"):
        stage.ledger.check_weights(other.weights_check, UID, stage.hotkey.public, EPOCH, ENTRY)


# --- the deployed contracts


class MisnamingNode(EvmNode):
    """It makes the poster use another contract than the deployed one."""

    def get_receipt(self, hash_: bytes) -> EvmReceipt | None:
        found = super().get_receipt(hash_)
        return None if found is None else replace(found, contract="0x" + "ba" * 20)


def test_a_node_that_names_another_contract(stage: Stage) -> None:
    with closing(MisnamingNode(stage.anvil.endpoint, CHAIN_ID)) as node:
        found = deployment.deploy_contracts(node, stage.key, 0)
    ledger = ScoreLedger(stage.node, found.ledger, NETUID)
    assert found.ledger != stage.ledger.address
    assert ledger.get_binding(stage.hotkey.public) == Binding(None, 0)
    stage.anvil.put_storage(KEYS_KEY + seat(), stage.hotkey.public)
    assert not ledger.check_weights(
        found.weights_check, UID, stage.hotkey.public, EPOCH, ENTRY
    ).posted


@pytest.mark.parametrize("name", [LEDGER, WEIGHTS_CHECK])
def test_the_standard_json_compiles_to_what_is_deployed(stage: Stage, name: str) -> None:
    """Verify it like an explorer: the compiler gets the JSON alone and returns the chain's code."""
    script = (
        'const solc = require("solc"); const fs = require("fs");'
        'process.stdout.write(solc.compile(fs.readFileSync(0, "utf8")))'
    )
    source = (CONTRACTS / "verify" / f"{name}.json").read_text()
    done = subprocess.run(
        ["node", "-e", script],
        input=source,
        cwd=CONTRACTS,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    built = json.loads(done.stdout)["contracts"][f"src/{name}.sol"][name]["evm"]
    assert load_artifact(name).bytecode.hex() == built["bytecode"]["object"]
    address = stage.deployed.ledger if name == LEDGER else stage.deployed.weights_check
    code = stage.anvil.rpc("eth_getCode", address, "latest")[2:]
    deployed = built["deployedBytecode"]["object"]
    # an immutable's place is zeros until it is deployed
    ledger = bytes.fromhex(stage.deployed.ledger[2:]).rjust(32, b"\0").hex()
    assert code.replace(ledger, "0" * 64) == deployed
    sources = json.loads(source)["sources"]
    for path, text in sources.items():
        if path.startswith("src/"):
            assert text["content"] == (CONTRACTS / path).read_text()


def test_a_key_is_never_shown(stage: Stage) -> None:
    with pytest.raises(ChainError) as caught:
        bind_hotkey(stage.ledger, stage.key, stage.hotkey.public, lambda m: b"short", 0)
    secret = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
    assert secret not in f"{stage.key!r} {stage.key} {caught.value} {vars(stage.key)}"
