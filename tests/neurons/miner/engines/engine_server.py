"""A server that speaks vLLM's and SGLang's wires as far as a miner does: a simulation.

It decodes by the checkpoint's own model, with the keyed draw or without. Unlike the real one, it
has no batching, no tokenizer, and no other part of the API; engines/vllm has the real processor,
and tests/engines/test_real_vllm.py has a real server.
"""

import json
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch

from assay.inference.checkpoint import load_checkpoint
from assay.inference.draft import Request
from assay.protocol.errors import OperatorError

ORDERS = ("/pause", "/collective_rpc", "/reset_prefix_cache", "/resume")
KINDS = ("keyed", "unkeyed", "silent", "nonsense", "endless", "failing", "unending")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # as many connect at once


class EngineServer:
    """Serves until it is closed.

    kind: one of KINDS, and may be changed. load: makes a drafter of a checkpoint's folder; without
    it the server takes no orders. orders: paths of those that came. bearers: keys that came.
    pause_s: seconds that it takes to pause, unless `go_on` is set before.
    """

    def __init__(self, drafter, kind="keyed", port=0, load=None):
        self.kind, self.asked, self.drafter = kind, 0, drafter
        self.load, self.orders, self.is_paused, self.pause_s = load, [], False, 0.0
        self.go_on = threading.Event()
        self.bearers: set[str | None] = set()
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

    def draft(self, extra, prompt, ahead):
        """Token ids of a completion that continues."""
        at = extra["assay_at"]
        seed = bytes.fromhex(extra["assay_seed"])
        if self.kind == "unkeyed":  # it draws, but by noise of its own
            seed = bytes(32)
        request = Request(tuple(prompt), seed, at=at)
        with self._lock, torch.inference_mode():
            self.asked += 1
            if self.kind == "unending":  # it heeds no end token
                self.drafter.rules = replace(self.drafter.rules, end_tokens=())
            (row,) = self.drafter.draft([request], ahead)
        return list(row)

    def complete(self, path, asked):
        """Answer like vLLM's completions and SGLang's generation."""
        if path == "/v1/completions":
            ids = self.draft(asked["vllm_xargs"], asked["prompt"], asked["max_tokens"])
            return {"choices": [{"text": "", "token_ids": ids}]}
        assert "custom_logit_processor" in asked
        how = asked["sampling_params"]
        ids = self.draft(how["custom_params"], asked["input_ids"], how["max_new_tokens"])
        return {"text": "", "output_ids": ids, "meta_info": {}}

    def obey(self, path, asked):
        """The status of an answer to an order."""
        name = path.split("?")[0]
        if name == "/update_weights_from_disk" and self.load is not None:
            self.orders.append(name)
            self.drafter = self.load(asked["model_path"])
            return 200
        if self.load is None or name not in ORDERS:
            return 404
        self.orders.append(name)
        self.is_paused = name != "/resume" and (self.is_paused or name == "/pause")
        if name == "/pause" and self.pause_s:
            self.go_on.wait(self.pause_s)
        if name == "/collective_rpc":
            if asked["method"] != "reload_weights" or not self.is_paused:
                return 400
            try:
                self.drafter = self.load(asked["kwargs"]["weights_path"])
            except OperatorError:
                return 500
        return 200

    def _make_handler(server):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                self.answer(200 if self.path == "/health" else 404, {})

            def do_POST(self):
                server.bearers.add(self.headers["Authorization"])
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"null")
                status, answer = 200, {}
                if self.path not in ("/v1/completions", "/generate"):
                    status, answer = server.obey(self.path, asked), {"success": True}
                elif server.kind == "silent":
                    time.sleep(3_600)
                elif server.kind == "failing":
                    status, answer = 500, {"error": "out of memory\nin a card"}
                elif server.kind == "nonsense":
                    answer = {"choices": [{"token_ids": [10**9] * asked["max_tokens"]}]}
                elif server.kind == "endless":
                    answer = {"choices": [{"text": "x" * 1_000_000}]}
                else:
                    answer = server.complete(self.path, asked)
                self.answer(status, answer)

            def answer(self, status, answer):
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


def load_drafter(folder):
    return load_checkpoint(Path(folder)).get_drafter(1_024)


def serve(folder, port):
    """Serves in a process of its own, until that is killed; prints its port."""
    torch.set_num_threads(1)
    server = EngineServer(load_drafter(folder), port=port, load=load_drafter)
    print(server.port, flush=True)
    threading.Event().wait()
