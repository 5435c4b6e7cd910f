"""The types of the explorer's JSON documents, one for each page: version 1 of its API.

A field may be added. Under `/api/v1` no field is removed, and none changes its meaning. `openapi`
describes these types, and every view returns its own. Digests are hex without 0x, hotkeys SS58,
shares 0 to 1; null means that a value is not known. Start with `overview`.
"""

__all__ = [
    "curves",
    "miners",
    "overview",
    "proposals",
    "settlements",
    "shared",
    "training",
    "validators",
    "windows",
]
