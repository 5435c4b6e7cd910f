"""A server that speaks vLLM's completions as far as a miner asks for them: a simulation.

It decodes by the checkpoint's own model, with the keyed draw or without. What it lacks beside the
real one: batching, a tokenizer, everything else of the API; engines/vllm has the real processor.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from assay.inference import Request

KINDS = ("keyed", "unkeyed", "silent", "nonsense", "endless", "failing")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # as many connect at once


class EngineServer:
    """Serves until it is closed. kind: one of KINDS, and may be changed."""

    def __init__(self, drafter, kind="keyed", port=0):
        self.kind, self.asked, self.drafter = kind, 0, drafter
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), self._make_handler())
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def draft(self, asked):
        """Token ids, as vLLM would answer them."""
        extra, prompt = asked["vllm_xargs"], asked["prompt"]
        at = extra["assay_at"]
        seed = bytes.fromhex(extra["assay_seed"])
        if self.kind == "unkeyed":  # it draws, but by noise of its own
            seed = bytes(32)
        rest = prompt[: len(prompt) - at], prompt[len(prompt) - at :]
        request = Request(tuple(rest[0]), seed, tuple(rest[1]))
        with self._lock, torch.inference_mode():
            self.asked += 1
            (row,) = self.drafter.draft([request], asked["max_tokens"])
        return list(row[at:])

    def _make_handler(server):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = 200, {}
                if server.kind == "silent":
                    time.sleep(3_600)
                elif server.kind == "failing":
                    status, answer = 500, {"error": "out of memory\nin a card"}
                elif server.kind == "nonsense":
                    answer = {"choices": [{"token_ids": [10**9] * asked["max_tokens"]}]}
                elif server.kind == "endless":
                    answer = {"choices": [{"text": "x" * 1_000_000}]}
                else:
                    answer = {"choices": [{"text": "", "token_ids": server.draft(asked)}]}
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

        return Handler
