"""The types of the explorer's JSON documents, one for each page: version 1 of its API.

A field may be added. Under `/api/v1` no field is removed, and none changes its meaning. `openapi`
describes these types, and tests check every document against its type. Digests are hex without 0x,
hotkeys SS58, shares 0 to 1; null is what is not known. Start with `overview_documents`.
"""

__all__ = [
    "curve_documents",
    "miner_documents",
    "overview_documents",
    "settlement_documents",
    "shared_documents",
    "training_documents",
    "validator_documents",
    "window_documents",
]
