"""A network's parameters: published by the owner, found by everybody.

From a chain to a network: the owner's slot names the parameters, which lie below a store's locator,
and they name the rest. A slot that comes to name other parameters names another network: programs
stop rather than work for the one that is gone.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from assay.artifacts.ports import Objects, SubnetReader
from assay.artifacts.store_objects import UnavailableError, make_parameters_name
from assay.network import ObjectStore, StoreError
from assay.protocol import Commitment, Parameters, Tag, encode_ss58, parse_commitment
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import find_parameters_fault

PARAMETERS_BYTES_MAX = 1 << 20

OpenStore = Callable[[str], ObjectStore]


class DiscoveryError(OperatorError):
    """A network cannot be found or published: says what is missing, and who has to do what."""


class SubnetChain(SubnetReader, Protocol):
    @property
    def netuid(self) -> int:
        """Which subnet this is."""

    def get_owner(self, number: int) -> bytes:
        """The hotkey of the subnet's owner at a block: its slot holds the parameters."""


def publish_parameters(store: ObjectStore, parameters: Parameters) -> None:
    """Puts parameters where their digest says, unless they are there. Raises StoreError: the store
    cannot be read or written."""
    name = make_parameters_name(parameters.digest)
    data = (json.dumps(parameters.to_json(), indent=1) + "\n").encode()
    source = store.open(name)
    if source.size() != len(data) or source.read(0, len(data)) != data:
        store.put(name, data)


def fetch_parameters(store: Objects, digest: bytes) -> Parameters:
    """The parameters of a digest, verified, and such that a network can run by them.

    Raises:
        UnavailableError: they are not there, or not what the digest names.
        StoreError: the store cannot be read, or hands out more than parameters can be.
    """
    name = make_parameters_name(digest)
    data = store.get(name, PARAMETERS_BYTES_MAX)
    if data is None:
        raise UnavailableError(f"the store has no {name}: publish the parameters there again")
    try:
        parameters = Parameters.from_json(read_json(data))
    except EncodingError as error:
        raise UnavailableError(f"{name} holds no parameters: {error}") from None
    if parameters.digest != digest:
        raise UnavailableError(
            f"{name} holds other parameters, of digest {parameters.digest.hex()[:16]}…"
        )
    fault = find_parameters_fault(parameters)
    if fault is not None:
        raise UnavailableError(f"nobody can run a network by {name}: {fault}")
    return parameters


def read_announcement(chain: SubnetChain) -> Commitment:
    """What the owner's slot says of the parameters in the newest final block. Raises
    DiscoveryError: nothing, or something else. ChainError: the chain cannot be read."""
    head = chain.get_head()
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


def find_parameters(chain: SubnetChain, open_store: OpenStore) -> Parameters:
    """The parameters that the owner has published, fetched and verified.

    Args:
        open_store: from a locator. It is a stranger's word: the opener decides what may be opened.

    Raises:
        DiscoveryError: says exactly what is missing.
        ChainError: the chain cannot be read.
    """
    commitment = read_announcement(chain)
    digest, locator = commitment.digest, commitment.locator
    try:
        parameters = fetch_parameters(open_store(locator), digest)
    except (StoreError, UnavailableError) as error:
        raise DiscoveryError(
            f"parameters {digest.hex()[:16]}… of subnet {chain.netuid} cannot be had from "
            f"{locator!r}, where its owner says they are: {error}"
        ) from error
    fault = find_mismatch(chain, parameters)
    if fault is not None:
        raise DiscoveryError(f"the owner of subnet {chain.netuid} has published {fault}")
    return parameters


def has_parameters_changed(chain: SubnetChain, parameters: Parameters) -> str | None:
    """Why whoever works by these parameters should stop: the owner's slot says something else.

    None where it names them still. One look at the newest final block.

    Raises:
        ChainError: the chain cannot be read.
    """
    try:
        commitment = read_announcement(chain)
    except DiscoveryError as error:
        return f"these parameters are withdrawn: {error}"
    if commitment.digest == parameters.digest:
        return None
    return (
        f"the owner of subnet {chain.netuid} has published other parameters, "
        f"{commitment.digest.hex()[:16]}… in place of {parameters.digest.hex()[:16]}…: it is "
        "another network; start again to join it"
    )


def make_mirrors(
    chain: SubnetChain,
    parameters: Parameters,
    open_store: OpenStore,
    own: Sequence[ObjectStore] = (),
) -> Callable[[], Iterator[ObjectStore]]:
    """Where checkpoints may be had: one's own mirrors, and the stores that trainer and owner name
    on chain just now. Raises ChainError: when iterated, where the chain cannot be read."""

    def iterate() -> Iterator[ObjectStore]:
        yield from own
        head = chain.get_head()
        slots = chain.get_commitments(head)
        seen = set()
        for hotkey in (parameters.identity.trainer, chain.get_owner(head)):
            commitment = parse_commitment(slots.get(hotkey, b""))
            if commitment is None or commitment.locator in seen:
                continue
            seen.add(commitment.locator)
            try:
                store = open_store(commitment.locator)
            except StoreError:  # the other one may serve
                continue
            yield store

    return iterate


def find_mismatch(chain: SubnetChain, parameters: Parameters) -> str | None:
    identity = parameters.identity
    if identity.genesis_hash != chain.genesis_hash:
        return (
            f"parameters of the chain with genesis hash {identity.genesis_hash.hex()[:16]}…, and "
            f"this one has {chain.genesis_hash.hex()[:16]}…"
        )
    if identity.netuid != chain.netuid:
        return f"parameters of subnet {identity.netuid}, and this one is {chain.netuid}"
    return None
