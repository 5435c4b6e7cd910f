"""A network's rules below a store's locator: `parameters/<digest>.json`; names beside them.

A digest names bytes, so any copy will do and nobody who keeps one is trusted.
"""

import json

from assay.artifacts.ports import Objects
from assay.network.store import ObjectStore
from assay.protocol import Parameters
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import find_parameters_fault

PARAMETERS_BYTES_MAX = 1 << 20


class PublicationError(OperatorError):
    """A store does not hold what a digest names, or holds something else under its name."""


def make_parameters_name(digest: bytes) -> str:
    """Where parameters lie below a locator."""
    return f"parameters/{digest.hex()}.json"


def make_checkpoint_name(digest: bytes, name: str) -> str:
    """Where a file of a checkpoint lies below a locator."""
    return f"checkpoints/{digest.hex()}/{name}"


def publish_parameters(store: ObjectStore, parameters: Parameters) -> None:
    """Puts parameters where their digest says, unless they are there.

    Raises:
        StoreError: the store cannot be read or written.
    """
    name = make_parameters_name(parameters.digest)
    data = (json.dumps(parameters.to_json(), indent=1) + "\n").encode()
    source = store.open(name)
    if source.size() != len(data) or source.read(0, len(data)) != data:
        store.put(name, data)


def fetch_parameters(store: Objects, digest: bytes) -> Parameters:
    """The parameters of a digest, verified, and such that a network can run by them.

    Raises:
        PublicationError: they are not there, or not what the digest names.
        StoreError: the store cannot be read, or hands out more than parameters can be.
    """
    name = make_parameters_name(digest)
    data = store.get(name, PARAMETERS_BYTES_MAX)
    if data is None:
        raise PublicationError(f"the store has no {name}: publish the parameters there again")
    try:
        parameters = Parameters.from_json(read_json(data))
    except EncodingError as error:
        raise PublicationError(f"{name} holds no parameters: {error}") from None
    if parameters.digest != digest:
        raise PublicationError(
            f"{name} holds other parameters, of digest {parameters.digest.hex()[:16]}…"
        )
    fault = find_parameters_fault(parameters)
    if fault is not None:
        raise PublicationError(f"nobody can run a network by {name}: {fault}")
    return parameters
