"""A chain's parameters as drand publishes them: `/{chain hash}/info` and its second version.

A program that pins a chain from a file reads it here. The chain hash must follow from the other
fields, so that comparing 32 bytes compares everything. The rule is drand's (drand v2,
`common/chain/info.go`), or the local beacon's own.

This module does not know whether the chain can be trusted.
"""

import struct
from hashlib import sha256

from assay.network.beacon.local_beacon import compute_local_hash
from assay.protocol.beacon import G1_BYTES, G2_BYTES, BeaconChain, Scheme
from assay.protocol.encoding import EncodingError, Json, read_hex, read_json

#: Longest info, bytes. Real ones have about 500.
INFO_MAX = 4_096
#: Bounds of drand's own types: period u32, genesis i64, both seconds; far below our u64 of ms.
_PERIOD_MAX, _GENESIS_MAX = 2**32 // 1_000, 2**40
#: The second version's name of each field of the first.
_SECOND_NAMES = {
    "public_key": "public_key",
    "period": "period",
    "genesis_time": "genesis_time",
    "groupHash": "genesis_seed",
    "hash": "chain_hash",
    "schemeID": "scheme",
}


def read_chain_info(data: bytes) -> BeaconChain:
    """The chain that an info of either version describes. `EncodingError`: it is too long, is not
    JSON, has a field that is missing, unknown or out of its bounds, or a hash that does not follow
    from the other fields."""
    if len(data) > INFO_MAX:
        raise EncodingError(f"has {len(data)} bytes, more than {INFO_MAX}")
    fields, beacon_id = _read_fields(read_json(data))
    period = _read_integer(fields, "period", 1, _PERIOD_MAX)
    genesis = _read_integer(fields, "genesis_time", 0, _GENESIS_MAX)
    public_key, seed = _read_bytes(fields, "public_key"), _read_bytes(fields, "groupHash")
    try:
        scheme = Scheme(fields["schemeID"])
    except ValueError:
        raise EncodingError(f"{fields['schemeID']!r} is not a beacon scheme known here") from None
    size = G2_BYTES if scheme is Scheme.UNCHAINED_G1 else G1_BYTES
    if len(public_key) != size:
        raise EncodingError(f"its public key has {len(public_key)} bytes, not {size}")
    stated_hash = _read_bytes(fields, "hash")
    by_drand = compute_chain_hash(period, genesis, public_key, seed, beacon_id)
    if stated_hash not in (by_drand, compute_local_hash(public_key)):
        raise EncodingError(f"its hash {stated_hash.hex()} does not follow from its other fields")
    return BeaconChain(stated_hash, scheme, public_key, genesis * 1_000, period * 1_000)


def compute_chain_hash(
    period: int, genesis: int, public_key: bytes, seed: bytes, beacon_id: str
) -> bytes:
    """drand's name of a chain, 32 bytes; `period` and `genesis` in seconds."""
    name = b"" if beacon_id in ("", "default") else beacon_id.encode()
    return sha256(struct.pack(">Iq", period, genesis) + public_key + seed + name).digest()


def describe_chain(chain: BeaconChain, beacon_id: str, version: int) -> dict[str, Json]:
    """The info, version 1 or 2, of a local chain, which has no group: its seed is zeros.
    `EncodingError`: its times are not whole seconds, which drand requires."""
    if chain.genesis_ms % 1_000 or chain.period_ms % 1_000:
        raise EncodingError("drand knows whole seconds only: genesis or period has a fraction")
    fields: dict[str, Json] = {
        "public_key": chain.public_key.hex(),
        "period": chain.period_ms // 1_000,
        "genesis_time": chain.genesis_ms // 1_000,
        "groupHash": bytes(32).hex(),
        "hash": chain.chain_hash.hex(),
        "schemeID": chain.scheme.value,
    }
    if version == 1:
        return fields | {"metadata": {"beaconID": beacon_id}}
    renamed = {_SECOND_NAMES[name]: value for name, value in fields.items()}
    return renamed | {"beacon_id": beacon_id}


def _read_fields(value: Json) -> tuple[dict[str, Json], str]:
    """The fields under their first version's names, and the beacon's id."""
    if not isinstance(value, dict):
        raise EncodingError("is not a JSON object")
    first = "hash" in value
    names = {name: name if first else second for name, second in _SECOND_NAMES.items()}
    last = "metadata" if first else "beacon_id"
    expected = {*names.values(), last}
    for name in sorted(expected ^ value.keys()):
        what = "field {!r} is missing" if name in expected else "unknown field {!r}"
        raise EncodingError(what.format(name))
    fields = {name: value[spelt] for name, spelt in names.items()}
    beacon_id = value[last]
    if first:
        if not isinstance(beacon_id, dict) or beacon_id.keys() != {"beaconID"}:
            raise EncodingError("its metadata is not {'beaconID': …}")
        beacon_id = beacon_id["beaconID"]
    if not isinstance(beacon_id, str) or not beacon_id.isascii():
        raise EncodingError("its beacon id is not a plain string")
    return fields, beacon_id


def _read_integer(fields: dict[str, Json], name: str, least: int, most: int) -> int:
    value = fields[name]
    if type(value) is not int or not least <= value <= most:
        raise EncodingError(f"{name} is not an integer from {least} to {most}")
    return value


def _read_bytes(fields: dict[str, Json], name: str) -> bytes:
    try:
        return read_hex(fields[name])
    except EncodingError as error:
        raise EncodingError(f"{name} {error}") from None
