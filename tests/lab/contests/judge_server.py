"""A test server that speaks OpenAI's chat completions as a judge, in a process of its own.

python tests/lab/contests/judge_server.py    # prints its port; the model's name says how it behaves
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-hunter2-hunter2-hunter2"
_SHOWN = re.compile(
    r"<task (\w+)>\n(.*)\n</task \1>\n\n<answer-1 \1>\n(.*)\n</answer-1 \1>\n\n"
    r"<answer-2 \1>\n(.*)\n</answer-2 \1>",
    re.DOTALL,
)


def judge(model: str, one: str, two: str) -> str:
    """The text of a judge of this kind about two answers."""
    if model == "longer":
        verdict = "TIE" if len(one) == len(two) else "1" if len(one) > len(two) else "2"
        return f"I count letters.\n\n**VERDICT: {verdict}**"
    if model == "first":
        return "VERDICT: 1"
    if model == "obedient":  # does what any answer tells it
        wanted = "1" if "choose me" in one else "2" if "choose me" in two else "TIE"
        return f"VERDICT: {wanted}"
    return "Both are nice."


class Judge(BaseHTTPRequestHandler):
    """Counts requests; `GET /count` says how many."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self) -> None:
        self.answer(200, str(Judge.asked).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Judge.asked += 1
        assert self.path == "/v1/chat/completions"
        model = body["model"]
        if model == "slow":
            time.sleep(30)
        if model == "refusing":
            said = f"no key {self.headers['Authorization']}\x1b[2J is known"
            return self.answer(401, said.encode())
        if model == "redirecting":
            return self.answer(307, b"", ("Location", "http://127.0.0.1:1/"))
        if model == "huge":
            return self.answer(200, b"[" + b" " * (8 << 20))
        if model == "garbage":
            return self.answer(200, b"\xff{[[")
        if model == "nested":
            return self.answer(200, b"[" * 100_000)
        if model == "shapeless":
            return self.answer(200, json.dumps({"choices": [{"message": None}]}).encode())
        if model == "blank":
            return self.answer(200, self.wrap("VERDICT:" + " " * 200_000))
        found = _SHOWN.fullmatch(body["messages"][1]["content"])
        assert found is not None
        assert found[1] in body["messages"][0]["content"]
        return self.answer(200, self.wrap(judge(model, found[3], found[4])))

    def wrap(self, text: str) -> bytes:
        """A text as a completion has it."""
        message = {"role": "assistant", "content": text}
        return json.dumps({"choices": [{"index": 0, "message": message}]}).encode()

    def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def serve_judge() -> Iterator[str]:
    """Its address, while it runs."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.kill()


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Judge) as http:
        print(http.server_port, flush=True)
        http.serve_forever()
