"""The packages of assay-judge work where nothing else of Assay's environment is installed."""

import subprocess
import sys

#: Modules that a process cannot import: of `assay`, and those that an extra brings.
BLOCKED = (
    *("torch", "transformers", "safetensors", "numba", "bittensor", "bittensor_core", "web3"),
    *("pydantic", "pydantic_settings", "structlog", "typer", "rich", "anyio", "h11", "httpcore2"),
    *("httpx2", "huggingface_hub", "jinja2", "starlette", "uvicorn", "websockets"),
    *("pyarrow", "wasmtime", "reasoning_gym", "sympy", "ray", "tokenizers"),
)
#: Children load these for everything else: they are the place where wasmtime is loaded.
LOADERS = {"assay.environments.gym.loaded", "assay.sandbox.guest.loaded"}
#: What the extra `text` brings is imported where text is read.
TEXT = {"assay.gate.chat_template", "assay.gate.template_syntax", "assay.gate.tokenizer"}
#: Python inside the sandbox.
INSIDE = (
    "assay.environments.gym.inside.",
    "assay.sandbox.guest.boot",
    "assay.sandbox.guest.extend",
)
OURS = ("environments", "gate", "judge", "protocol", "sandbox", "verification")

BLOCKING = f"""
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(name)
        ours = name.split(".")[1:2]
        if name.startswith("assay.") and ours[0] not in {OURS!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Block())
"""
WALKING = f"""
import importlib, pkgutil
for name in {OURS!r}:
    package = importlib.import_module("assay." + name)
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if found.name in {LOADERS | TEXT!r} or found.name.startswith({INSIDE!r}):
            continue
        importlib.import_module(found.name)
        print(found.name)
"""


def run_blocked(program, *arguments):
    return subprocess.run(
        [sys.executable, "-P", "-c", BLOCKING + program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_module_is_imported_with_all_else_blocked():
    done = run_blocked(WALKING)
    assert done.returncode == 0, done.stderr
    names = done.stdout.split()
    assert len(names) > 150
    assert {"assay.protocol.beacon", "assay.judge.command", "assay.environments.registry"} <= {
        *names
    }


def test_a_bundle_is_judged_with_all_else_blocked(kept):
    program = "from assay.judge.command import run; sys.exit(run(sys.argv[1:]))"
    done = run_blocked(program, "bundle", kept, "--allow-local-beacon")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "FORM_OK" in done.stdout
    assert "no text was read: the library tokenizers is not here" in done.stdout
    assert "DIFFERS" not in done.stdout
