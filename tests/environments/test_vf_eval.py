"""The command of verifiers itself on an exported environment: its rewards are ours.

A server on this machine plays the model. It answers each prompt with a fixed text, in the protocol
of OpenAI's chat completions, streamed.
"""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from assay.environments.dealing import make_miner_problem
from assay.environments.registry import make_environment
from assay.protocol.manifest import start_levels
from assay.protocol.parameters import MILLION
from tests.commands import run_command
from tests.environments.verifiers_python import HAS_VERIFIERS, NO_VERIFIERS

SEED, COUNT = "5a" * 32, 12
VF_EVAL = Path(sys.executable).with_name("vf-eval")
#: A replacement for `uv`, which the harness would fetch, to fetch the packages of its chat program.
#: They are here already, because verifiers needs them too.
UV = f"""#!/bin/sh
case "$*" in
*--help*) echo "  --script" ;;
"python find"*) echo {sys.executable} ;;
esac
"""


@contextmanager
def serve_answers(answers: dict[str, str]) -> Iterator[str]:
    """The base URL of a model that gives each prompt its answer."""

    class Model(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert asked["stream"]
            prompt = asked["messages"][-1]["content"]
            base = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "fixed"}
            deltas = ({"role": "assistant", "content": answers[prompt]}, None), ({}, "stop")
            parts = [
                base | {"choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
                for delta, end in deltas
            ]
            used = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            parts.append(base | {"choices": [], "usage": used})
            lines = [*(json.dumps(part) for part in parts), "[DONE]"]
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write("".join(f"data: {line}\n\n" for line in lines).encode())

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.skipif(not HAS_VERIFIERS, reason=NO_VERIFIERS)
@pytest.mark.slow
def test_verifiers_command_gives_the_rewards_of_ours(tmp_path: Path) -> None:
    done = run_command("env", "export", "gsm", "--verifiers", str(tmp_path), "--json")
    told = json.loads(done.stdout)
    with zipfile.ZipFile(told["file"]) as archive:
        archive.extractall(tmp_path / "site")
    environment = make_environment("gsm", {})
    answers, expected = {}, []
    for index in range(COUNT):
        seed, levels = bytes.fromhex(SEED), start_levels(environment.levels)
        problem = make_miner_problem(environment, seed, bytes(32), index, levels)
        right = f"#### {problem.answer.row.value}"  # type: ignore[attr-defined]
        forms = right, f"So it is this.\n{right}", f"{right}\n", right + "0", f"{right} or 7", ""
        answers[problem.prompt] = forms[index % len(forms)]
        scored = run_command(
            *("env", "score", "gsm", "--seed", SEED, "--index", str(index), "--json"),
            *("--answer", "-"),
            given=answers[problem.prompt],
        )
        expected.append(json.loads(scored.stdout)["reward"] / MILLION)
    assert len(set(expected)) > 1
    uv = tmp_path / ".local/bin/uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(UV)
    uv.chmod(0o755)
    paths = {"PATH": f"{VF_EVAL.parent}:{os.defpath}", "PYTHONPATH": str(tmp_path / "site")}
    with serve_answers(answers) as url:
        command = [str(VF_EVAL), told["taskset"], "-n", str(COUNT), "-m", "fixed"]
        command += ["--client.base-url", url, "--env.taskset.seed", SEED]
        command += ["--env.taskset.count", str(COUNT), "--env.agent.harness.id", "null"]
        command += ["--env.agent.runtime.type", "subprocess", "--push", "False"]
        command += ["-o", str(tmp_path / "runs")]
        ran = subprocess.run(
            command,
            cwd=tmp_path,
            env={**paths, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert ran.returncode == 0, ran.stdout[-3_000:] + ran.stderr[-3_000:]
    (file,) = (tmp_path / "runs").glob("*/traces.jsonl")
    episodes = [json.loads(line) for line in file.read_text().splitlines()]
    found = {
        episode["task"]["data"]["idx"]: [trace["rewards"] for trace in episode["traces"]]
        for episode in episodes
    }
    assert len(episodes) == COUNT
    assert found == {
        index: [{"correct": {"score": one, "weight": 1.0}}] for index, one in enumerate(expected)
    }
