"""The files of a repository that are downloaded: those of a model, or of one split of problems.

Never a pickle, never a program: nothing else than what is named here leaves the Hub.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from assay.network.hub.names import HubError, HubName
from assay.network.hub.splits import DATA_ENDINGS, Split, choose_split, find_splits
from assay.protocol.encoding import EncodingError, read_json

#: Bytes of a file of a model beside its tensors; of all files; of one file, which is also the
#: library's own limit.
SMALL_MAX, MODEL_MAX, FILE_MAX = 64 << 20, 4 << 40, 50_000_000_000
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_SMALL = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json"),
    *("adapter_config.json", "adoption.json"),
    # a checkpoint of Assay
    *("manifest.json", "calibration.json", "calibration_set.json"),
)
#: Small files in folders: further templates, and the further files of a checkpoint.
_FOLDERS = ("additional_chat_templates/*.jinja", "files/*")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
#: Most files of a split, and bytes of them all as a multiple of those of one.
_SHARDS_MAX, _SHARDS_TIMES = 1_024, 16
#: Names that a message lists.
_LISTED = 12


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a commit, as its listing has it. One of both digests is there.

    Attributes:
        sha256: of its bytes, hex; "": git keeps it whole.
        blob: git's SHA-1 of its bytes, hex; of a large file that of a pointer.
    """

    path: str
    size: int
    sha256: str
    blob: str

    @property
    def digest(self) -> str:
        """Its digest, with the algorithm's name."""
        return f"sha256:{self.sha256}" if self.sha256 else f"sha1:{self.blob}"

    @property
    def tag(self) -> str:
        """The ETag with which it is served."""
        return self.sha256 or self.blob


Files = Mapping[str, HubFile]


def choose_model_files(
    name: HubName, files: Files, read: Callable[[HubFile], bytes]
) -> list[HubFile]:
    """The files of a model, an adapter or a checkpoint; or the one GGUF file that is named.

    Args:
        files: of the commit, by path.
        read: fetches a small file at once.

    Raises:
        HubError: there is no such model, or it is too large.
    """
    if name.path.endswith(".gguf"):
        return [_get_named(name, files)]
    prefix = f"{name.path}/" if name.path else ""
    within = {
        path.removeprefix(prefix): file for path, file in files.items() if path.startswith(prefix)
    }
    if not within:
        raise HubError(f"{name}: there is no such folder{_list(files)}")
    chosen = [
        file
        for path, file in within.items()
        if path in _SMALL
        or (path.count("/") == 1 and any(fnmatchcase(path, pattern) for pattern in _FOLDERS))
    ]
    for file in chosen:
        _require_size(name, file, SMALL_MAX)
    tensors = _choose_tensors(name, within, read)
    total = sum(file.size for file in tensors)
    for file in tensors:
        _require_size(name, file, FILE_MAX)
    if total > MODEL_MAX:
        raise HubError(f"{name}: {total >> 30:,} GiB of tensors; at most {MODEL_MAX >> 40} TiB")
    return [*chosen, *tensors]


def _choose_tensors(
    name: HubName, within: Files, read: Callable[[HubFile], bytes]
) -> list[HubFile]:
    """The choice of adoption and of transformers: the whole file, those of the index, or all."""
    present = {path: file for path, file in within.items() if _is_tensors(path)}
    if WHOLE in present:
        return [present[WHOLE]]
    if INDEX in within:
        _require_size(name, within[INDEX], SMALL_MAX)
        return [within[INDEX], *_read_index(name, within[INDEX], present, read)]
    usual = [file for path, file in present.items() if not path.startswith("consolidated")]
    if usual:
        return usual
    raise HubError(f"{name} {_say_no_tensors(within)}")


def _is_tensors(path: str) -> bool:
    return path.endswith(".safetensors") and "/" not in path


def _read_index(
    name: HubName, index: HubFile, present: Files, read: Callable[[HubFile], bytes]
) -> list[HubFile]:
    try:
        places = read_json(read(index))["weight_map"]
        wanted = sorted({str(place) for place in places.values()})
    except (EncodingError, LookupError, TypeError, AttributeError):
        raise HubError(f"{name}: {index.path} has no weight_map: use another revision") from None
    for place in wanted:
        if place not in present:
            raise HubError(
                f"{name}: {place[:200]!r}, which {index.path} names, is not in the repository: "
                "use another revision"
            )
    return [present[place] for place in wanted]


def _say_no_tensors(within: Files) -> str:
    for kind, found in (
        ("pickles, which run what their maker wrote and are never fetched", _PICKLES),
        ("GGUF files: name one as hf://ORG/NAME/FILE.gguf", ("*.gguf",)),
    ):
        names = [path for path in within if any(fnmatchcase(path, each) for each in found)]
        if names:
            return f"has no *.safetensors, only {kind}{_list(names)}"
    return f"has no *.safetensors: name a repository with a model's weights{_list(within)}"


def choose_split_files(name: HubName, files: Files, limit: int) -> tuple[Split, list[HubFile]]:
    """The split of problems that is named, or the only one of the repository or of a folder, and
    its files. A file may be named, too.

    Args:
        limit: most bytes of a file.

    Raises:
        HubError: there is none, there are several, or it is too large or not whole.
    """
    split = Split(name.path, (name.path,)) if name.path in files else _find_split(name, files)
    if not split.files[0].lower().endswith(DATA_ENDINGS):
        raise HubError(f"{name}: name a file that ends in {', '.join(DATA_ENDINGS)}")
    if split.missing is not None:
        raise HubError(f"{name}: file {split.missing} of split {split.name} is not there")
    if len(split.files) > 1 and split.joined in files:
        raise HubError(f"{name} has a file {split.joined}, where its split would be: name one file")
    chosen = [_require_size(name, files[path], limit) for path in split.files]
    total = sum(file.size for file in chosen)
    if len(chosen) > _SHARDS_MAX or total > _SHARDS_TIMES * limit:
        raise HubError(
            f"{name}: split {split.name} has {len(chosen):,} files, {total >> 20:,} MiB; at most "
            f"{_SHARDS_MAX:,}, {_SHARDS_TIMES * limit >> 20:,} are joined: name one file, such as "
            f"{name.repository}{_at(name)}/{split.files[0]}"
        )
    return split, chosen


def _find_split(name: HubName, files: Files) -> Split:
    splits = choose_split(find_splits(files), name.path)
    if not splits:
        what = f"no file or folder {name.path}" if name.path else "no file of problems"
        raise HubError(f"{name.repository} has {what} ({', '.join(DATA_ENDINGS)}){_list(files)}")
    if len(splits) > 1:
        names = [split.name for split in splits]
        raise HubError(
            f"{name} has {len(names)} files or splits: name one, such as "
            f"{name.repository}{_at(name)}/{names[0]}{_list(names)}"
        )
    return splits[0]


def _at(name: HubName) -> str:
    return "" if name.revision is None else f"@{name.revision}"


def _get_named(name: HubName, files: Files) -> HubFile:
    if name.path not in files:
        raise HubError(f"{name}: there is no such file{_list(files)}")
    return _require_size(name, files[name.path], FILE_MAX)


def _require_size(name: HubName, file: HubFile, most: int) -> HubFile:
    if file.size > most:
        raise HubError(
            f"{name}: {file.path} has {file.size >> 20:,} MiB; at most {most >> 20:,} are fetched"
        )
    return file


def _list(names: Sequence[str] | Files) -> str:
    listed = sorted(names)[:_LISTED]
    more = ", …" if len(names) > _LISTED else ""
    return f"; it has {', '.join(listed)}{more}" if listed else ""
