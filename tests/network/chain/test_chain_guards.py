"""The chain adapter's refusals before anything is sent, and the answers that it takes from no
node."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assay.network.chain import subtensor as subtensor_chain
from assay.network.chain.errors import ChainError
from assay.network.chain.extrinsic_sender import ExtrinsicSender
from assay.network.chain.runtime_features import (
    CommitBy,
    EpochsBy,
    RegisterBy,
    RuntimeFeatures,
    WeightsBy,
)
from assay.network.chain.subnet_owner import create_subnet
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.target import ChainTarget
from assay.network.chain.values import TAO, Hyperparameters
from assay.network.chain.wallets import DevWallet
from assay.network.chain.weights_sender import send_weights

RUNTIME = RuntimeFeatures(
    293, RegisterBy.CALL, WeightsBy.CALL, CommitBy.CRV3, EpochsBy.TEMPO, "LastMechansimStepBlock"
)
RULES = Hyperparameters(10, False, 0, 5 * TAO, True, 256, 0, 1)


class SentError(Exception):
    """Something would have gone out."""


class Node:
    """A connection to a node that answers from a few figures, and its substrate in one.

    Attributes:
        heads: its answers, in order, to requests for the finalized head.
    """

    def __init__(self, endpoint: str = "ws://127.0.0.1:9944") -> None:
        self.target = ChainTarget((endpoint,))
        self.endpoint = self.where = endpoint
        self.genesis_hash = bytes(32)
        self.heads: list[int] = []

    def add_check(self, check: object) -> None:
        pass

    def read(self, ask: Callable[["Node"], Any]) -> Any:
        async def run() -> Any:
            return await ask(self)

        return asyncio.run(run())

    def send(self, ask: object) -> Any:
        raise SentError

    async def query(self, pallet: str, name: str, keys: object = None) -> Any:
        return {
            "NetworksAdded": True,
            "Uids": None,
            "SubnetworkN": 256,
            "WeightsVersionKey": 0,
            "Account": {"data": {"free": 1_000 * TAO}},
        }[name]

    async def runtime_call(self, api: str, method: str, arguments: object) -> int:
        assert method == "get_network_registration_cost"
        return 100 * TAO

    def read_head(self) -> int:
        return self.heads.pop(0)

    async def spec_version(self) -> int:
        return RUNTIME.spec_version


@pytest.fixture
def node() -> Any:
    return Node()


@pytest.fixture
def chain(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SubtensorChain:
    async def detect_runtime(_: object) -> RuntimeFeatures:
        return RUNTIME

    async def read_hyperparameters(*_: object) -> Hyperparameters:
        return RULES

    monkeypatch.setattr(subtensor_chain, "detect_runtime", detect_runtime)
    monkeypatch.setattr(subtensor_chain, "read_hyperparameters", read_hyperparameters)
    return SubtensorChain(node, 3, tmp_path, poll_s=0)


def test_a_node_that_lags_takes_no_block_back(node: Any, chain: SubtensorChain) -> None:
    """The next endpoint may be behind the last one; what was final stays final."""
    node.heads = [100, 97, 101]
    assert [chain.get_head() for _ in range(3)] == [100, 100, 101]


def test_a_head_that_no_node_has_come_to_is_given_up(node: Any, chain: SubtensorChain) -> None:
    """A lie is not kept for the process's life; nothing final that was read is taken back."""
    node.heads = [100, 2**31, 101, 60]
    assert [chain.get_head() for _ in range(3)] == [100, 2**31, 101]
    chain.archive.put("block", 99, "[]")
    assert chain.get_head() == 99


def test_a_uid_dearer_than_allowed_is_not_bought(chain: SubtensorChain) -> None:
    hotkey = chain.add_wallet(DevWallet("//Alice", "//Alice//hot"))
    with pytest.raises(ChainError, match=r"more than the .* allowed"):
        chain.register(hotkey, RULES.registration_cost - 1)
    with pytest.raises(SentError):
        chain.register(hotkey, RULES.registration_cost)


def test_a_subnet_dearer_than_allowed_is_not_bought(node: Any) -> None:
    wallet: Any = DevWallet("//Alice", "//Alice//hot")
    with pytest.raises(ChainError, match=r"more than the .* allowed"):
        create_subnet(node, wallet, 100 * TAO - 1)
    with pytest.raises(SentError):
        create_subnet(node, wallet, 100 * TAO)


@pytest.mark.parametrize("final", [False, True])
def test_keys_that_everybody_knows_sign_for_this_machine_only(final: bool) -> None:
    wallet: Any = DevWallet("//Alice", "//Alice//hot")
    call = ("System", "remark", {"remark": b"hello"})
    for endpoint, error in (
        ("wss://node.example:443", ChainError),
        ("ws://127.0.0.1:9944", SentError),
    ):
        node: Any = Node(endpoint)
        sender = ExtrinsicSender(node)
        with pytest.raises(error):
            sender.send_call(call, wallet, final=final)


@pytest.mark.parametrize("way", WeightsBy)
def test_a_row_shorter_than_the_subnet_takes_goes_out_filled(node: Any, way: WeightsBy) -> None:
    """The SDK's intent would take the zeros out and refuse the rest."""
    sent: list[Any] = []
    sender: Any = SimpleNamespace(send_call=lambda call, *_, **__: sent.append(call))
    wallet: Any = None
    runtime, rules = replace(RUNTIME, weights_by=way), replace(RULES, min_weights=3)
    send_weights(node, sender, runtime, 3, wallet, {4: 65_535}, rules)
    (call,) = sent
    assert (call.params["dests"], call.params["weights"]) == ([0, 1, 4], [0, 0, 65_535])
