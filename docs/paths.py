"""Draws the two paths in architecture.md: which modules each leads through, in order.

python docs/paths.py          # rewrites them
python docs/paths.py --check  # exit 1 if they differ

A submission from its miner's store to the verdict, as a validator reads it ahead and judges it; and
a checkpoint that is not here, from a store to the loaded model. Both are run on the shipped genesis
model. A turn is a call from one module into another; it leads back where the other one waits for this
call. `assay.protocol` is left out: it is the vocabulary of all others.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from page_parts import fill, write_or_check

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
sys.argv[1:] = []  # bench's scripts have flags of their own

import audit as bench
import torch
from work import load_genesis

from assay.artifacts.checkpoints import tensor_download
from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.submissions.reader import AUDITED, KnownMirror
from assay.artifacts.submissions.read_ahead import ReadAhead
from assay.artifacts.submissions.judge import judge_hotkey
from assay.neurons.program.neuron import JudgeSources
from assay.inference.tokenizing import folder_tokenizer
from assay.network.store.folder import open_folder
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58
from assay.protocol.commitment import make_object_name
from assay.training import GENESIS
from assay.verification import Ledger

PAGE = Path(__file__).with_name("architecture.md")
_VOCABULARY = "assay.protocol"
#: What another thread calls comes after what its starter does before it waits.
_STEP_ASIDE_S = 0.05


#: A call from one module into another: caller, callee, and whether it leads back: into a module of the
#: same package, or into another package, that waits for the caller.
Turn = tuple[str, str, bool]


@contextmanager
def follow(turns: list[Turn]) -> Iterator[None]:
    """Notes each turn that is taken in here, when it is taken for the first time."""
    seen: set[object] = set()
    lock, main, start = threading.Lock(), threading.current_thread(), threading.Thread.start
    starters: dict[threading.Thread, list[str]] = {}

    def list_waiting(frame: FrameType | None) -> list[str]:
        """Modules on the stack, the innermost first; a thread goes on where it was started."""
        found = []
        while frame is not None:
            found += filter(None, [find_module(frame)])
            frame = frame.f_back
        return found + starters.get(threading.current_thread(), [])

    def begin(thread: threading.Thread) -> None:
        starters[thread] = list_waiting(sys._getframe(1))
        start(thread)

    def note(frame: FrameType, event: str, argument: object) -> None:
        callee = find_module(frame) if event == "call" else None
        if callee is None or frame.f_code.co_name.startswith(("<", "__")):
            return
        key = frame.f_code, None if frame.f_back is None else frame.f_back.f_code
        if key in seen:
            return
        if threading.current_thread() is not main:
            time.sleep(_STEP_ASIDE_S)
        with lock:
            seen.add(key)
            waiting = list_waiting(frame.f_back)
            if waiting and waiting[0] != callee and (waiting[0], callee) not in seen:
                seen.add((waiting[0], callee))
                packages = [find_package(module) for module in waiting]
                package = find_package(callee)
                back = callee in waiting if packages[0] == package else package in packages
                turns.append((waiting[0], callee, back))

    threading.Thread.start = begin
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        threading.Thread.start = start


def find_module(frame: FrameType) -> str | None:
    """Assay's module that a frame is of, if it is one to be drawn."""
    module = str(frame.f_globals.get("__name__", ""))
    drawn = module.startswith("assay.") and not module.startswith(_VOCABULARY)
    return module.removeprefix("assay.") if drawn else None


def find_package(module: str) -> str:
    return module.partition(".")[0]


def follow_submission() -> list[Turn]:
    """From the miner's store to the verdict."""
    bench.GROUPS, bench.TOKENS = 1, 4
    torch.set_num_threads(1)
    checkpoint = load_genesis()
    endless = replace(checkpoint.manifest, end_tokens=(0,), max_tokens=bench.TOKENS)
    checkpoint = replace(checkpoint, manifest=endless)
    context = bench.open_window(checkpoint)
    data, context = bench.mine(checkpoint, context)
    committed, turns = context.commitments[bench.MINER], list[Turn]()
    with tempfile.TemporaryDirectory() as folder:
        store = open_folder(Path(folder))
        store.put(make_object_name(encode_ss58(bench.MINER), context.window), data)
        other = KnownMirror(open_folder(Path(folder) / "mirror"))
        stores = {committed.locator: store}
        sources = JudgeSources(None, None, None, stores, lambda root: [other])
        with follow(turns):
            ahead = ReadAhead(sources, threads=1)
            ahead.begin(context, bench.MINER, context.audit_block.number)
            while ahead.choose(context, {AUDITED: [bench.MINER]}) is None:
                pass
            sources = replace(sources, ahead=ahead)
            judged = judge_hotkey(context, bench.MINER, checkpoint, sources, Ledger())
        ahead.close()
        assert judged.verdict.reason is Reason.ACCEPTED, judged
    return turns


def follow_checkpoint() -> list[Turn]:
    """From a store to the loaded model."""
    digest, turns = load_genesis().digest, list[Turn]()
    tensor_download.WORKERS = 1
    folder_tokenizer._last = None  # of the same files: it would be in memory already
    with tempfile.TemporaryDirectory() as folder:
        store = open_folder(Path(folder) / "store")
        publish_checkpoint(store, GENESIS, digest)
        with follow(turns):
            models = CheckpointFolder(Path(folder) / "models", DownloadSettings(lambda: [store]))
            assert models.get(digest).digest == digest
    return turns


def draw(turns: list[Turn]) -> str:
    """A path: its numbers and Mermaid text, an arrow for each turn; dotted where it leads back."""
    modules = list(dict.fromkeys(module for turn in turns for module in turn[:2]))
    packages = dict.fromkeys(map(find_package, modules))
    pairs: dict[tuple[str, str], bool] = {}
    for one, other, back in turns:
        if find_package(one) != find_package(other):
            pair = find_package(one), find_package(other)
            pairs[pair] = pairs.get(pair, False) or back
    lines = [
        f"{len(turns)} calls between {len(modules)} modules ({sum(turn[2] for turn in turns)} back), "
        f"{len(pairs)} calls between {len(packages)} packages ({sum(pairs.values())} back).",
        "",
        "```mermaid",
        "flowchart LR",
    ]
    for package in packages:
        names = [module for module in modules if find_package(module) == package]
        lines.append(f"  subgraph {package}")
        lines += [f"    {module}[{module.rpartition('.')[2]}]" for module in names]
        lines.append("  end")
    for one, other, back in turns:
        lines.append(f"  {one} {'-.->' if back else '-->'} {other}")
    return "\n".join([*lines, "```"])


def main() -> int:
    """Rewrites or checks; the exit code."""
    parts = {"submission": draw(follow_submission()), "checkpoint": draw(follow_checkpoint())}
    return write_or_check({PAGE: fill(PAGE.read_text(), parts, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
