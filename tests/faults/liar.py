"""A node among honest ones that lies about final blocks, and passes on everything else."""

import json
import threading
from collections.abc import Callable
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from assay.network.chain.finalized_heads import hash_header

#: Method, parameters, the honest answer → the lie.
Lie = Callable[[str, list[Any], Any], Any]


class Liar:
    """A proxy before the node at `upstream`.

    Attributes:
        lie: changes its answers; None: no change.
        speak: changes the text of its answers; None: no change.
        asked: questions so far.
    """

    def __init__(self, upstream: str) -> None:
        self.lie: Lie | None = None
        self.speak: Callable[[str], str] | None = None
        self.asked = 0
        self._upstream = upstream
        self._server = serve(self._speak, "127.0.0.1", 0, compression=None)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._thread.join(60)

    def claim_head(self, number: int) -> None:
        """From now on its newest final block bears this number; of others it speaks the truth."""

        def lie(method: str, _: list[Any], result: Any) -> Any:
            return result | {"number": hex(number)} if method == "chain_getHeader" else result

        self.lie = lie

    def claim_block(self, number: int, at_ms: int, *, down_to: int | None = None) -> None:
        """From now on its newest final block is one of its own, of that time.

        Args:
            down_to: from this block on it calls all of its blocks by that one's hash; None: that
                one alone.
        """
        lowest = number if down_to is None else down_to
        nothing = "0x" + "00" * 32
        header = {
            "number": hex(number),
            "parentHash": f"0x{number:064x}",
            "stateRoot": nothing,
            "extrinsicsRoot": nothing,
            "digest": {"logs": []},
        }
        text = "0x" + hash_header(header).hex()

        def lie(method: str, params: list[Any], result: Any) -> Any:
            if method in ("chain_getFinalizedHead", "chain_getFinalisedHead"):
                return text
            if method == "chain_getBlockHash" and lowest <= params[0] <= number:
                return text
            if method == "chain_getHeader" and params == [text]:
                return header
            if method.startswith("state_getStorage") and params[-1] == text:
                return "0x" + at_ms.to_bytes(8, "little").hex()
            return result

        self.lie = lie

    def hang_up(self) -> None:
        """From now on every question ends the connection."""

        def lie(*_: Any) -> Any:
            raise ConnectionResetError

        self.lie = lie

    def _speak(self, client: ServerConnection) -> None:
        try:
            with connect(self._upstream, compression=None, max_size=2**26) as node:
                for text in client:
                    client.send(self._answer(node, text))
        except (ConnectionClosed, OSError):
            pass  # either side has left

    def _answer(self, node: Any, text: str | bytes) -> str:
        request = json.loads(text)
        self.asked += 1
        node.send(text)
        while True:
            answer = json.loads(node.recv(30))
            if answer.get("id") == request["id"]:
                break
        if self.lie is not None:
            result = self.lie(request["method"], request.get("params", []), answer.get("result"))
            answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
        said = json.dumps(answer)
        return said if self.speak is None else self.speak(said)
