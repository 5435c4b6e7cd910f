"""A checkpoint without its tensors and without a model's libraries: its manifest and its tokenizer.

A folder needs manifest.json, config.json, tokenizer.json and tokenizer_config.json, and the files
that the manifest names.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.environments import Conversation, Frame
from assay.protocol.encoding import EncodingError, Json, from_json, read_json
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import POOL_FILE, Manifest, compute_files_digest, find_files_fault
from assay.sandbox.thrown import LibraryError, catch_thrown
from assay.verification.ports import Tokenizer
from assay.verification.text_tokenizer import TextTokenizer

_MANIFEST, _CONFIG = "manifest.json", "config.json"
_TOKENIZER = _CORE, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
#: Most bytes of one of these files, and rows of an output matrix.
_FILE_BYTES, _VOCABULARY_MAX = 64 << 20, 1 << 24
#: Fields of tokenizer_config.json with tokens beside those whose names end in `_token`.
_MORE_TOKENS = (
    *("additional_special_tokens", "extra_special_tokens", "model_specific_special_tokens"),
    "added_tokens_decoder",
)
#: Flags of an added token, and what they are where it does not say.
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


class CheckpointFault(OperatorError):
    """A folder holds no checkpoint, or another one, or none that can be read here."""


class NoTextError(Exception):
    """Text of this checkpoint cannot be written or read here. The message says why."""


@dataclass(frozen=True, slots=True)
class CheckpointOutline:
    """What judging needs of a checkpoint beside its model.

    Attributes:
        tokenizer: where `no_text` is not None, a `FormTokenizer`.
        pool: the file of problems that the network wrote itself; no bytes: there is none.
        no_text: why text is not read; None: it is.
    """

    manifest: Manifest
    tokenizer: Tokenizer
    pool: bytes
    no_text: str | None


#: Folder, manifest, V → the tokenizer. Raises NoTextError.
OpenTokenizer = Callable[[Path, Manifest, int], Tokenizer]


@dataclass(frozen=True, slots=True)
class FormTokenizer:
    """Knows which ids may be drawn, and no text: every prompt is the id 0."""

    drawable: NDArray[np.bool_]  # bool [V]

    def encode(self, asked: Conversation) -> list[int]:
        """See `Tokenizer`."""
        return [0]

    def encode_reply(self, content: str, frame: Frame, most_bytes: int) -> list[int] | None:
        """Raises a NoTextError."""
        raise NoTextError("replies are text")

    def decode(self, tokens: Sequence[int]) -> str:
        """Raises a NoTextError."""
        raise NoTextError("answers are text")


def open_outline(
    folder: Path, expected: bytes | None = None, open_tokenizer: OpenTokenizer | None = None
) -> CheckpointOutline:
    """Open a checkpoint's folder, and check its small files against its manifest.

    Args:
        expected: the digest on chain, where the caller knows it.
        open_tokenizer: for text; None: `open_text`. Whoever has `assay` may give
            `assay.inference.tokenizing.folder_tokenizer.open_tokenizer`: it knows chat templates.

    Raises:
        CheckpointFault: a file is missing or differs from the manifest.
    """
    manifest = _read_manifest(folder, expected)
    for name, files, domain, wanted in (
        ("structure", (_CONFIG,), Domain.STRUCTURE, manifest.structure),
        ("tokenizer", _TOKENIZER, Domain.TOKENIZER, manifest.tokenizer),
    ):
        found = compute_files_digest(domain, {file: _read(folder / file) for file in files})
        _require_same(folder, name, found == wanted)
    vocabulary = _read_vocabulary(folder)
    pool = _read_pool(folder, manifest)
    no_text = None
    try:
        tokenizer = (open_tokenizer or open_text)(folder, manifest, vocabulary)
    except NoTextError as error:
        no_text = str(error)
        tokenizer = FormTokenizer(find_drawable(folder, manifest, vocabulary))
    return CheckpointOutline(manifest, tokenizer, pool, no_text)


def open_text(folder: Path, manifest: Manifest, vocabulary: int) -> TextTokenizer:
    """The tokenizer of a folder by the library `tokenizers` alone.

    Raises:
        NoTextError: the library is not here; or there is a chat template, or tokens that
            tokenizer.json lacks, for which `assay` is needed.
    """
    settings, core = _read_object(folder / _SETTINGS), _read_object(folder / _CORE)
    template = hash_fields(Domain.CHAT_TEMPLATE)
    if settings.get("chat_template") is not None or manifest.chat_template != template:
        raise NoTextError("prompts are written by a chat template, which needs the package assay")
    if (name := _find_other_token(settings, core)) is not None:
        raise NoTextError(f"{name} has a token that {_CORE} lacks, which needs the package assay")
    try:
        from tokenizers import Tokenizer as Library
    except ImportError:
        raise NoTextError("the library tokenizers is not here: install assay-judge[text]") from None
    special = {
        name: token if isinstance(token, str) else str(token.get("content"))
        for name, token in settings.items()
        if name.endswith("_token") and isinstance(token, str | dict)
    }
    try:
        with catch_thrown():
            backend = Library.from_buffer(_read(folder / _CORE))
        return TextTokenizer(backend, special, vocabulary, manifest.end_tokens)
    except (LibraryError, ValueError) as error:
        raise NoTextError(f"{folder / _CORE} is no tokenizer that loads: {error}") from None


def find_drawable(folder: Path, manifest: Manifest, vocabulary: int) -> NDArray[np.bool_]:
    """Bool [V]: ids that may be drawn. All of them where the files leave it to a library."""
    settings, core = _read_object(folder / _SETTINGS), _read_object(folder / _CORE)
    drawable = np.ones(vocabulary, bool)
    if _find_other_token(settings, core) is not None:
        return drawable
    ids = _list_ids(core)
    if any(type(number) is not int or not 0 <= number < vocabulary for number in ids.values()):
        raise CheckpointFault(f"{folder / _CORE} has an id that the model has not")
    drawable[:] = False
    drawable[list(ids.values())] = True
    token = settings.get("pad_token")
    text = token.get("content") if isinstance(token, dict) else token
    padding = ids.get(text) if isinstance(text, str) else None
    if padding is not None and padding not in manifest.end_tokens:
        drawable[padding] = False
    return drawable


def _list_ids(core: Mapping[str, Json]) -> dict[Any, Any]:
    """Text → id of every entry. Raises a CheckpointFault."""
    try:
        known = core["model"]["vocab"]
        listed = not isinstance(known, dict)  # a list by id, of text and score
        ids = {text: number for number, (text, _) in enumerate(known)} if listed else dict(known)
        return ids | {token["content"]: token["id"] for token in core.get("added_tokens") or ()}
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointFault(f"{_CORE} has no vocabulary that can be read: {error!r}") from None


def _find_other_token(settings: Mapping[str, Json], core: Mapping[str, Json]) -> str | None:
    """The first field of tokenizer_config.json with a token that tokenizer.json has not, or has in
    another way; None: they are joined by leaving them as they are."""
    added = core.get("added_tokens")
    objects = [one for one in added if isinstance(one, dict)] if isinstance(added, list) else []
    known = {one["content"]: one for one in objects if isinstance(one.get("content"), str)}
    for name, token in _iterate_tokens(settings):
        text = token if isinstance(token, str) else token.get("content")
        entry = known.get(text) if isinstance(text, str) else None
        flags = {} if isinstance(token, str) else {f: token[f] for f in _FLAGS if f in token}
        if entry is None or entry.get("special") is not True:
            return name
        if any(entry.get(flag) != value for flag, value in flags.items()):
            return name
    return None


def _iterate_tokens(settings: Mapping[str, Json]) -> Iterator[tuple[str, Any]]:
    """Every token that tokenizer_config.json names: a text or an object, with the field's name."""
    for name, value in settings.items():
        if name.endswith("_token") and isinstance(value, str | dict):
            yield name, value
        elif name in _MORE_TOKENS and value:
            parts = value.values() if isinstance(value, dict) else value
            for token in parts if isinstance(value, dict | list) else ():
                yield name, token if isinstance(token, str | dict) else {}


def _read_manifest(folder: Path, expected: bytes | None) -> Manifest:
    try:
        manifest = from_json(Manifest, read_json(_read(folder / _MANIFEST)))
    except EncodingError as error:
        raise CheckpointFault(f"{folder / _MANIFEST} {error}") from None
    if expected is not None and manifest.digest != expected:
        raise CheckpointFault(
            f"{folder} holds checkpoint {manifest.digest.hex()[:16]}…, not "
            f"{expected.hex()[:16]}…: name the one in force"
        )
    fault = find_files_fault(manifest)
    if fault is not None:
        raise CheckpointFault(f"{folder / _MANIFEST}: {fault}")
    return manifest


def _read_vocabulary(folder: Path) -> int:
    """V, rows of the output matrix."""
    value = _read_object(folder / _CONFIG).get("vocab_size")
    if type(value) is not int or not 0 < value <= _VOCABULARY_MAX:
        raise CheckpointFault(f"{folder / _CONFIG} has no vocab_size")
    return value


def _read_pool(folder: Path, manifest: Manifest) -> bytes:
    pool = next((file for file in manifest.files if file.name == POOL_FILE), None)
    if pool is None:
        return b""
    data = _read(folder / "files" / POOL_FILE)
    _require_same(folder, f"file {POOL_FILE!r}", sha256(data).digest() == pool.sha256)
    return data


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointFault(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointFault(f"{path} is not an object")
    return value


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe may never end
            raise CheckpointFault(f"{path} is missing: name a checkpoint's folder")
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES + 1)
    except OSError as error:
        raise CheckpointFault(f"{path} cannot be read ({error.strerror})") from None
    if len(data) > _FILE_BYTES:
        raise CheckpointFault(f"{path} has more than {_FILE_BYTES:,} bytes")
    return data


def _require_same(folder: Path, name: str, is_same: bool) -> None:
    if not is_same:
        raise CheckpointFault(f"the {name} in {folder} is not its manifest's: fetch it again")
