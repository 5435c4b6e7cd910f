"""The ledger on subtensor's EVM: deploys contracts, binds hotkeys, posts and reads settlements.

web3 is imported when a node is first used. Keys are typed and never printed. Nothing here decides
what is posted, or when. Start at `score_ledger.py`, which reads and writes the ledger.
`node.py` is the node under it, within the deadlines and sizes of `bounded_provider.py`.
"""

from assay.network.evm.contracts import EvmError, LedgerEntry, RevertedError, make_ledger_entry
from assay.network.evm.deployment import bind_hotkey, compute_binding_message, deploy_contracts
from assay.network.evm.key import EvmKey, compute_mirror
from assay.network.evm.node import CHAIN_IDS, EvmNode, EvmReceipt, SignedCall
from assay.network.evm.score_ledger import Binding, LedgerPoster, ScoreLedger

__all__ = [
    "CHAIN_IDS",
    "Binding",
    "EvmError",
    "EvmKey",
    "EvmNode",
    "EvmReceipt",
    "LedgerEntry",
    "LedgerPoster",
    "RevertedError",
    "ScoreLedger",
    "SignedCall",
    "bind_hotkey",
    "compute_binding_message",
    "compute_mirror",
    "deploy_contracts",
    "make_ledger_entry",
]
