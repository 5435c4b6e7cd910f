"""The chain to use, and its nodes."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from assay.network.chain.errors import ChainError
from assay.network.text import keep_secret, mask_endpoint

#: Longest time for which a neuron retries one call.
PATIENCE_S = 120.0
#: Longest wait for the newest head, over all nodes. A neuron without a head reports it and does
#: other work.
HEAD_S = 20.0
#: Share (one in …) of a call's patience that one node may take for its head: so many can be asked.
HEAD_SHARE = 3


#: Networks that every version of the SDK knows.
_USUAL = ("finney", "test", "local")


@dataclass(frozen=True, slots=True)
class ChainTarget:
    """A chain and its endpoints."""

    #: ws:// or wss:// URLs of nodes of that chain. The first is the operator's own. The others are
    #: asked one at a time when it fails, and are then trusted like it.
    endpoints: tuple[str, ...]
    #: hash of the chain's genesis, 32 bytes; None takes the first node's and requires it of all
    #: others
    genesis_hash: bytes | None = None
    #: nodes that are asked for state that plain nodes have forgotten
    archives: tuple[str, ...] = ()
    deadline_s: float = 20.0  # longest wait for an answer to one read
    patience_s: float = PATIENCE_S  # longest time for which a call is retried
    head_s: float = HEAD_S  # the same for the newest head
    inclusion_s: float = 180.0  # longest wait for an extrinsic to be included or final
    #: a node is left if its finalized head has not moved for this long, or is this far behind the
    #: clock; None: ten of the chain's blocks, and at least half a minute
    still_s: float | None = None

    def __post_init__(self) -> None:
        for url in (*self.endpoints, *self.archives):
            keep_secret(url)

    @staticmethod
    def from_name(
        network: str,
        fallbacks: tuple[str, ...] = (),
        archives: tuple[str, ...] = (),
        genesis_hash: bytes | None = None,
        patience_s: float = PATIENCE_S,
    ) -> "ChainTarget":
        """The target that a person names: a network that the SDK knows, or a node's URL. Raises a
        `ChainError` for anything else."""
        from bittensor import settings

        public = network in settings.NETWORKS
        endpoint = settings.NETWORKS.get(network, network)
        if not _is_node(endpoint):
            names = ", ".join(sorted(settings.NETWORKS))
            raise ChainError(
                f"{mask_endpoint(endpoint)!r} is not a network: name one of {names}, or a ws:// URL"
            )
        for url in (*fallbacks, *archives):
            if not _is_node(url):
                raise ChainError(
                    f"{mask_endpoint(url)!r} is not a node: write a ws:// or wss:// URL"
                )
        if network == settings.DEFAULT_NETWORK and genesis_hash is None:
            genesis_hash = bytes.fromhex(settings.FINNEY_GENESIS_HASH.removeprefix("0x"))
        if public:
            fallbacks = fallbacks or tuple(settings.FALLBACK_ENDPOINTS.get(network, ()))
            archives = archives or tuple(settings.ARCHIVE_ENDPOINTS.get(network, ()))
        endpoints = tuple(dict.fromkeys((endpoint, *fallbacks)))
        return ChainTarget(endpoints, genesis_hash, archives, patience_s=patience_s)

    @staticmethod
    def require_named(network: str, *others: str) -> None:
        """Raise the ChainError that `from_name` would. `others` are fallbacks and archives. Valid
        names are checked without the SDK, which takes a second to load."""
        if not (network in _USUAL or _is_node(network)) or not all(map(_is_node, others)):
            ChainTarget.from_name(network, others)

    @property
    def is_loopback(self) -> bool:
        """Return whether every endpoint is this machine."""
        hosts = {urlsplit(endpoint).hostname for endpoint in self.endpoints}
        return hosts <= {"127.0.0.1", "::1", "localhost"}


def _is_node(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
