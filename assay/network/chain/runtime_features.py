"""The features of the runtime behind a node, read from its metadata and never guessed.

Runtimes change between two blocks. The features that a program relies on are looked up by name at
the start, and again whenever the spec version changes. If an indispensable one is gone, the program
stops with a clear message instead of reading nonsense.
"""

from dataclasses import dataclass
from enum import Enum

from assay.network.chain.errors import ChainError
from assay.network.chain.substrate import Substrate

MODULE = "SubtensorModule"
COMMITMENTS = "Commitments"

#: Storage items without which no block can be read.
_NEEDED = {
    "Timestamp": {"Now"},
    COMMITMENTS: {"CommitmentOf"},
    MODULE: {
        *("SubnetworkN", "Keys", "Uids", "BlockAtRegistration", "Tempo", "Weights"),
        *("LastUpdate", "Burn", "WeightsSetRateLimit", "CommitRevealWeightsEnabled"),
        "SubnetOwnerHotkey",
    },
}


class RegisterBy(Enum):
    """Ways to buy a uid."""

    LIMIT = "call register_limit"  # the chain itself refuses a price above the limit
    INTENT = "intent BurnedRegister"
    CALL = "call burned_register"


class WeightsBy(Enum):
    """Ways to set weights."""

    INTENT = "intent SetWeights"
    CALL = "call set_weights"


class CommitBy(Enum):
    """Ways to set weights that the chain reveals later."""

    INTENT = "intent SetWeights"
    CRV3 = "call commit_crv3_weights"
    NONE = "no way known"


class EpochsBy(Enum):
    """Ways in which the runtime determines a subnet's epochs."""

    SCHEDULE = "schedule in state"  # every tempo blocks; an owner may pull one forward
    TEMPO = "tempo alone"  # every tempo + 1 blocks


@dataclass(frozen=True, slots=True)
class RuntimeFeatures:
    """One spec version and how to call it. `last_epoch` names the item that holds that block,
    `items` are all storage items of the module."""

    spec_version: int
    register_by: RegisterBy
    weights_by: WeightsBy
    commit_by: CommitBy
    epochs_by: EpochsBy
    last_epoch: str
    items: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return (
            f"runtime spec {self.spec_version}: registration by {self.register_by.value}, weights "
            f"by {self.weights_by.value}, timelocked weights by {self.commit_by.value}, epochs by "
            f"{self.epochs_by.value}"
        )


async def detect_runtime(substrate: Substrate) -> RuntimeFeatures:
    """The runtime at the node's head. `ChainError`: it lacks features that every read needs."""
    metadata = await substrate.raw.metadata_ir()
    storage = {pallet.name: {item.name for item in pallet.storage} for pallet in metadata.pallets}
    calls = {pallet.name: {call.name for call in pallet.calls} for pallet in metadata.pallets}
    apis = {f"{api.name}.{method}" for api in metadata.runtime_apis for method in api.methods}
    spec = await substrate.spec_version()
    missing = [
        f"{pallet}.{name}"
        for pallet, names in _NEEDED.items()
        for name in sorted(names - storage.get(pallet, set()))
    ]
    last_epoch = next(
        (n for n in ("LastEpochBlock", "LastMechansimStepBlock") if n in storage.get(MODULE, ())),
        None,
    )
    if missing or last_epoch is None:
        raise ChainError(
            f"runtime spec {spec} has no {', '.join(missing) or 'block of the last epoch'}: this "
            "program cannot read it; update assay and bittensor"
        )
    module, module_calls = storage[MODULE], calls[MODULE]
    register_by = RegisterBy.CALL
    if "register_limit" in module_calls:
        register_by = RegisterBy.LIMIT
    elif "CollateralLockShare" in module and "MevShield" in storage:
        register_by = RegisterBy.INTENT
    intent = "SubnetEpochConsensus" in module and "set_mechanism_weights" in module_calls
    commit_by = CommitBy.NONE
    if intent and "commit_timelocked_mechanism_weights" in module_calls:
        commit_by = CommitBy.INTENT
    elif "commit_crv3_weights" in module_calls:
        commit_by = CommitBy.CRV3
    schedule = "SubnetInfoRuntimeApi.get_next_epoch_start_block" in apis
    return RuntimeFeatures(
        spec_version=spec,
        register_by=register_by,
        weights_by=WeightsBy.INTENT if intent else WeightsBy.CALL,
        commit_by=commit_by,
        epochs_by=EpochsBy.SCHEDULE if schedule else EpochsBy.TEMPO,
        last_epoch=last_epoch,
        items=frozenset(module),
    )
