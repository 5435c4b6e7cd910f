"""Whose hotkey is there for another purpose than mining: the owner's, the trainer's, validators'.

All of it is public: the parameters name the owner's uid and the trainer's hotkey, the record its
validator. A chain shows who else publishes a record, and who may set weights.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from assay.explorer.documents.shared import Role
from assay.explorer.page_reader import PageReader
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.ss58 import encode_ss58


def find_roles(reader: PageReader) -> Mapping[str, Sequence[Role]]:
    """Hotkey in SS58 → its roles. A hotkey may have a role and mine, too."""
    found: defaultdict[str, list[Role]] = defaultdict(list)
    for address, role in _iterate_named(reader):
        if role not in found[address]:
            found[address].append(role)
    neurons = reader.sources.read_neurons()
    if neurons is None:
        return dict(found)
    rows = reader.ask("SELECT hotkey FROM miners WHERE committed > 0")
    miners = {bytes(row["hotkey"]) for row in rows}
    for uid in neurons.rows:
        address = encode_ss58(uid.hotkey)
        # each hotkey with stake may have a permit: a miner's, and the owner's
        votes = uid.permit and uid.hotkey not in miners and address not in found
        if votes or (uid.records and "validator" not in found[address]):
            found[address].append("validator")
    return {address: roles for address, roles in found.items() if roles}


def name_kind(roles: Sequence[Role], committed: int) -> str:
    """What a hotkey is, for a title: a miner, or its roles if it never committed to a file."""
    return " and ".join(roles).capitalize() if roles and not committed else "Miner"


def _iterate_named(reader: PageReader) -> Iterator[tuple[str, Role]]:
    """Those that the parameters, the record and the owner's uid name."""
    identity, neurons = reader.subject.identity, reader.sources.read_neurons()
    if identity.amender != ZERO_DIGEST:
        yield encode_ss58(identity.amender), "owner"
    if neurons is None:
        held = reader.ask_one(
            "SELECT address FROM miners WHERE uid = ? ORDER BY seen DESC LIMIT 1",
            identity.owner_uid,
        )
        if held is not None:
            yield held["address"], "owner"
    for uid in () if neurons is None else neurons.rows:
        if uid.uid == identity.owner_uid:
            yield encode_ss58(uid.hotkey), "owner"
    yield encode_ss58(identity.trainer), "trainer"
    yield reader.address, "validator"
