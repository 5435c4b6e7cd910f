"""A network's parameters: published by the owner, found by everybody.

The owner's slot on chain names the parameters. A store has them at the slot's locator, and they
name the rest. Parameters with a predecessor amend it. If the slot names unrelated ones, it names
another network, and programs stop rather than work for the abandoned one. Parameters may name an
amender: its slot then takes the place of the owner's.
"""

import json
from collections.abc import Callable, Container, Iterator, Sequence

from assay.artifacts.ports import Objects
from assay.artifacts.store_objects import UnavailableError, make_parameters_name
from assay.network.chain.ports import BlockReader
from assay.network.store.base import ObjectStore, StoreError
from assay.protocol.amendment import AMENDMENTS_MAX
from assay.protocol.commitment import Commitment, Tag, parse_commitment
from assay.protocol.encoding import EncodingError, Json, read_json
from assay.protocol.errors import OperatorError, TroubleKind
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.parameters import PROTOCOL_VERSION, Identity, Parameters, find_parameters_fault
from assay.protocol.ss58 import encode_ss58

PARAMETERS_BYTES_MAX = 1 << 20

OpenStore = Callable[[str], ObjectStore]


class DiscoveryError(OperatorError):
    """A network cannot be found or published. The message says what is missing, and who must do
    what."""

    trouble_kind = TroubleKind.PARAMETERS


def encode_published(parameters: Parameters) -> bytes:
    """Parameters as a store has them."""
    return (json.dumps(parameters.to_json(), indent=1) + "\n").encode()


def publish_parameters(store: ObjectStore, parameters: Parameters) -> None:
    """Put parameters where their digest says, unless they are there. Raises StoreError: the store
    cannot be read or written."""
    name = make_parameters_name(parameters.digest)
    data = encode_published(parameters)
    source = store.open(name)
    if source.size() != len(data) or source.read(0, len(data)) != data:
        store.put(name, data)


def fetch_parameters(store: Objects, digest: bytes) -> Parameters:
    """The parameters with this digest, verified, if a network can run by them.

    Raises:
        UnavailableError: they are missing, or not those that the digest names.
        StoreError: the store cannot be read, or returns more bytes than parameters can have.
    """
    parameters = fetch_unchecked(store, digest)
    fault = find_parameters_fault(parameters)
    if fault is not None:
        name = make_parameters_name(digest)
        raise UnavailableError(f"nobody can run a network by {name}: {fault}")
    return parameters


def fetch_unchecked(store: Objects, digest: bytes) -> Parameters:
    """The same, whether or not a network can run by them."""
    name = make_parameters_name(digest)
    data = store.get(name, PARAMETERS_BYTES_MAX)
    if data is None:
        raise UnavailableError(f"the store has no {name}: publish the parameters there again")
    try:
        document = read_json(data)
        version = _find_version(document)
        if version not in (None, PROTOCOL_VERSION):
            raise UnavailableError(
                f"{name} has protocol version {version}, and this program {PROTOCOL_VERSION}: "
                "install the release of that version"
            )
        parameters = Parameters.from_json(document)
    except EncodingError as error:
        raise UnavailableError(f"{name} holds no parameters: {error}") from None
    if parameters.digest != digest:
        raise UnavailableError(
            f"{name} holds other parameters, of digest {parameters.digest.hex()[:16]}…"
        )
    return parameters


def _find_version(document: Json) -> int | None:
    """The protocol's version that parameters name, whatever else they hold; None: they name
    none. Other versions have other fields."""
    identity = document.get("identity") if isinstance(document, dict) else None
    version = identity.get("version") if isinstance(identity, dict) else None
    return version if type(version) is int else None


def fetch_predecessors(
    fetch: Callable[[bytes], Parameters], digest: bytes, known: Container[bytes] = ()
) -> list[Parameters]:
    """The parameters of a digest and all their unknown predecessors, the oldest first. Raises the
    errors of `fetch`. UnavailableError: there are more than any network has, or they are out of
    order."""
    path: list[Parameters] = []
    while digest not in known and digest != ZERO_DIGEST:
        if len(path) > AMENDMENTS_MAX:
            raise UnavailableError(f"more than {AMENDMENTS_MAX} amendments follow each other")
        path.insert(0, fetch(digest))
        if len(path) > 1 and path[0].start.window >= path[1].start.window:
            raise UnavailableError("parameters start no later than their predecessor")
        digest = path[0].start.predecessor
    return path


def read_announcement(chain: BlockReader, number: int | None = None) -> Commitment:
    """The parameters' commitment in the owner's slot at a block, or in the newest final one. Raises
    DiscoveryError: the slot is empty, or has something else. ChainError: the chain cannot be
    read."""
    head = chain.get_head() if number is None else number
    owner = chain.get_owner(head)
    payload = chain.get_commitments(head).get(owner)
    where = f"subnet {chain.netuid}'s owner, {encode_ss58(owner)},"
    if payload is None:
        raise DiscoveryError(
            f"{where} has published no parameters up to block {head}: it has to run "
            "`assay subnet publish`"
        )
    commitment = parse_commitment(payload)
    if commitment is None or commitment.tag is not Tag.PARAMETERS:
        what = "no commitment of Assay's" if commitment is None else f"a {commitment.tag.name}'s"
        raise DiscoveryError(
            f"{where} holds {what} in its slot at block {head} and no parameters: it has to run "
            "`assay subnet publish` with this hotkey, which can serve for nothing else"
        )
    return commitment


def find_amender(chain: BlockReader, identity: Identity, number: int) -> bytes:
    """The hotkey whose slot names a network's amendments at a block: the one that its parameters
    name, or the owner's. Raises ChainError: the chain cannot be read."""
    return chain.get_owner(number) if identity.amender == ZERO_DIGEST else identity.amender


def read_amendment(chain: BlockReader, identity: Identity, number: int) -> Commitment | None:
    """The parameters' commitment in the slot of whoever amends a network, at a block; None: it has
    none. Raises ChainError: the chain cannot be read."""
    amender = find_amender(chain, identity, number)
    slot = parse_commitment(chain.get_commitments(number).get(amender, b""))
    return slot if slot is not None and slot.tag is Tag.PARAMETERS else None


def make_mirrors(
    chain: BlockReader,
    parameters: Parameters,
    open_store: OpenStore,
    own_stores: Sequence[ObjectStore] = (),
) -> Callable[[], Iterator[ObjectStore]]:
    """The stores that may have checkpoints: the operator's own mirrors, and the stores that
    trainers, amender and owner currently name on chain. Raises ChainError: when iterated, the chain
    cannot be read."""

    def iterate() -> Iterator[ObjectStore]:
        yield from own_stores
        head = chain.get_head()
        slots = chain.get_commitments(head)
        seen = set()
        rounds = parameters.rounds
        trainers = (parameters.identity.trainer, *(() if rounds is None else rounds.trainers))
        amender = find_amender(chain, parameters.identity, head)
        for hotkey in dict.fromkeys((*trainers, amender, chain.get_owner(head))):
            commitment = parse_commitment(slots.get(hotkey, b""))
            if commitment is None or commitment.locator in seen:
                continue
            seen.add(commitment.locator)
            try:
                store = open_store(commitment.locator)
            except StoreError:  # the other one may work
                continue
            yield store

    return iterate


def find_mismatch(chain: BlockReader, parameters: Parameters) -> str | None:
    identity = parameters.identity
    if identity.genesis_hash != chain.genesis_hash:
        return (
            f"parameters of the chain with genesis hash {identity.genesis_hash.hex()[:16]}…, and "
            f"this one has {chain.genesis_hash.hex()[:16]}…"
        )
    if identity.netuid != chain.netuid:
        return f"parameters of subnet {identity.netuid}, and this one is {chain.netuid}"
    return None
