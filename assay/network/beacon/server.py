"""A relay for a private beacon chain: drand's HTTP API, both versions, on this machine.

For devnets and tests. Paths, fields and statuses are those of drand's own relay
(https://github.com/drand/http-relay). It lacks `next`, metrics and authentication.
"""

import re
import threading
import time
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from assay.network.beacon.chain_info import describe_chain
from assay.network.beacon.local_beacon import LocalBeacon
from assay.network.beacon.relay_endpoint import BeaconSourceError
from assay.network.web.http_server import ServerLimits, make_server, open_socket
from assay.protocol.beacon import Beacon
from assay.protocol.encoding import EncodingError, Json

#: The local chain's name beside its hash.
BEACON_ID = "assay-local"
#: Longest waits for the server to start and to end, seconds.
START_S, STOP_S = 10.0, 5.0
#: Most connections at once; the server asks further clients to come back.
_CONNECTIONS_MAX = 256
#: A round in a path, with as many digits as 64 bits can have.
_ROUND = re.compile(r"[0-9]{1,20}")


class BeaconServer:
    """Serves the published rounds of a local beacon until it is closed. Port 0 means any free port.
    Other machines can reach it only if `host` allows it. `BeaconSourceError`: the port is
    unavailable, or the chain's times are not whole seconds."""

    def __init__(self, beacons: LocalBeacon, port: int = 0, host: str = "127.0.0.1") -> None:
        try:
            app = make_app(beacons)
        except EncodingError as error:
            raise BeaconSourceError(f"this beacon chain cannot be served: {error}") from None
        try:
            self._socket = open_socket(host, port)
        except (OSError, OverflowError, UnicodeError) as error:
            raise BeaconSourceError(
                f"the beacon server cannot listen on port {port} of {host}: {error}; name another "
                "port"
            ) from None
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self._socket.getsockname()[1]}"
        # every program of a localnet is a client on this machine
        limits = ServerLimits(_CONNECTIONS_MAX, per_client=_CONNECTIONS_MAX)
        self._server = make_server(app, limits, lines=None)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="beacon-server", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                self.close()
                raise BeaconSourceError(f"the beacon server at {self.url} does not start")
            time.sleep(0.01)

    def close(self) -> None:
        """Stop the server and its thread."""
        self._server.should_exit = True
        self._thread.join(STOP_S)
        self._socket.close()


def make_app(beacons: LocalBeacon) -> Starlette:
    """The routes of both versions; `EncodingError` as in `describe_chain`."""
    infos = {version: describe_chain(beacons.chain, BEACON_ID, version) for version in (1, 2)}
    chain_hash = beacons.chain.chain_hash.hex()

    def say(value: Json) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_: Request) -> Response:
            return JSONResponse(value)

        return answer

    async def health(_: Request) -> Response:
        newest = beacons.get_newest_round()
        return JSONResponse({"current": newest, "expected": newest})

    def get_round(version: int) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            text = request.path_params.get("number", "0")
            if not _ROUND.fullmatch(text) or int(text) >= 2**64:
                return PlainTextResponse("Failed to parse round parameter", 400)
            number = int(text)
            # round 0 is the newest one, as in drand's relays
            beacon = beacons.get(number or beacons.get_newest_round())
            if beacon is None:
                return PlainTextResponse("Requested future beacon", 425)
            return JSONResponse(_describe_beacon(beacon, version))

        return answer

    routes = [Route("/chains", say([chain_hash])), Route("/v2/chains", say([chain_hash]))]
    routes.append(Route("/v2/beacons", say([BEACON_ID])))
    roots = [("", 1, "public"), (f"/{chain_hash}", 1, "public")]
    roots += [(f"/v2/chains/{chain_hash}", 2, "rounds"), (f"/v2/beacons/{BEACON_ID}", 2, "rounds")]
    for root, version, rounds in roots:
        routes += [
            Route(f"{root}/info", say(infos[version])),
            Route(f"{root}/health", health),
            Route(f"{root}/{rounds}/latest", get_round(version)),
            Route(f"{root}/{rounds}/{{number}}", get_round(version)),
        ]
    return Starlette(routes=routes)


def _describe_beacon(beacon: Beacon, version: int) -> dict[str, Json]:
    """A round in drand's format. Its second version leaves the randomness to the reader."""
    round_and_signature = {"round": beacon.round, "signature": beacon.signature.hex()}
    if version == 2:
        return round_and_signature
    return round_and_signature | {"randomness": beacon.randomness.hex()}
