"""A checkpoint without its tensors and without a model's libraries: its manifest and its tokenizer.

A folder needs manifest.json, config.json, tokenizer.json and tokenizer_config.json, and the files
that the manifest names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.environments.base import Conversation, Frame
from assay.gate.files import JSON_BYTES, SMALL_FILE_BYTES, UnfitFileError, read_regular
from assay.gate.rules import UnfitError
from assay.gate.tokenizer_files import check_tokenizer_files, digest_template
from assay.gate.tokenizer_settings import DECODER_TABLE, SPECIAL_NAMES, iterate_tokens
from assay.protocol.encoding import EncodingError, Json, from_json, read_json
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import Domain
from assay.protocol.manifest import POOL_FILE, Manifest, compute_files_digest, find_files_fault
from assay.sandbox.thrown import LibraryError, catch_thrown
from assay.verification.ports import Tokenizer

_MANIFEST, _CONFIG = "manifest.json", "config.json"
_TOKENIZER = _CORE, _SETTINGS = "tokenizer.json", "tokenizer_config.json"
#: Most rows of an output matrix.
_VOCABULARY_MAX = 1 << 24
#: Flags of an added token.
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
            `assay.inference.tokenizing.folder_tokenizer.open_tokenizer`: it knows tokens that
            tokenizer.json lacks.

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


def open_text(folder: Path, manifest: Manifest, vocabulary: int) -> Tokenizer:
    """The tokenizer of a folder by the libraries `tokenizers` and `jinja2` alone.

    Raises:
        CheckpointFault: the files are not a tokenizer that may be used.
        NoTextError: a library is not here; or there are tokens that tokenizer.json lacks, for which
            `assay` is needed.
    """
    data, core, settings = _check_tokenizer(folder, vocabulary)
    if digest_template(settings.get("chat_template")) != manifest.chat_template:
        raise CheckpointFault(f"{folder / _SETTINGS} has another chat template than its manifest")
    if (where := _find_other_token(settings, core)) is not None:
        raise NoTextError(f"{where} is a token that {_CORE} lacks, which needs the package assay")
    try:
        from tokenizers import Tokenizer as Library

        from assay.gate.tokenizer import FolderTokenizer
    except ImportError as error:
        lacking = error.name or "tokenizers"
        raise NoTextError(f"the library {lacking} is not here: install assay-judge[text]") from None
    special = {
        name: token if isinstance(token, str) else token["content"]
        for name, token in settings.items()
        if name in SPECIAL_NAMES
    }
    template = settings.get("chat_template")
    try:
        with catch_thrown():
            backend = Library.from_buffer(data)
            backend.encode_special_tokens = settings.get("split_special_tokens", False)
        return FolderTokenizer(backend, special, template, vocabulary, manifest.end_tokens)
    except (LibraryError, ValueError) as error:
        raise CheckpointFault(f"{folder / _CORE} is no tokenizer that loads: {error}") from None


def find_drawable(folder: Path, manifest: Manifest, vocabulary: int) -> NDArray[np.bool_]:
    """Bool [V]: ids that may be drawn. All of them where the files leave it to a library."""
    _, core, settings = _check_tokenizer(folder, vocabulary)
    drawable = np.ones(vocabulary, bool)
    if _find_other_token(settings, core) is not None:
        return drawable
    ids = dict(core["model"]["vocab"])
    ids |= {token["content"]: token["id"] for token in core.get("added_tokens", ())}
    drawable[:] = False
    drawable[list(ids.values())] = True
    token = settings.get("pad_token")
    padding = ids.get(token["content"] if isinstance(token, dict) else token)
    if padding is not None and padding not in manifest.end_tokens:
        drawable[padding] = False
    return drawable


def _check_tokenizer(
    folder: Path, vocabulary: int
) -> tuple[bytes, dict[str, Json], dict[str, Json]]:
    """tokenizer.json and the same parsed, and what a library may see of tokenizer_config.json."""
    data = _read(folder / _CORE)
    try:
        return data, *check_tokenizer_files(data, _read(folder / _SETTINGS), vocabulary)
    except UnfitError as error:
        raise CheckpointFault(f"nobody can use {folder}: {error}") from None


def _find_other_token(settings: Mapping[str, Json], core: Mapping[str, Json]) -> str | None:
    """Where tokenizer_config.json has a token that tokenizer.json has not, or has in another way;
    None: they are joined by leaving them as they are."""
    known = {token["content"]: token for token in core.get("added_tokens", ())}
    table = settings.get(DECODER_TABLE, {})
    further = [(f"{number} of {DECODER_TABLE}", token) for number, token in table.items()]
    for where, token in (*iterate_tokens(settings), *further):
        entry = known.get(token if isinstance(token, str) else token["content"])
        flags = {} if isinstance(token, str) else {f: token[f] for f in _FLAGS if f in token}
        if entry is None or entry["special"] is not True:
            return where
        if any(entry[flag] != value for flag, value in flags.items()):
            return where
    return None


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
    path = folder / _CONFIG
    try:
        config = read_json(_read(path, JSON_BYTES))
    except EncodingError as error:
        raise CheckpointFault(f"{path} {error}") from None
    value = config.get("vocab_size") if isinstance(config, dict) else None
    if type(value) is not int or not 0 < value <= _VOCABULARY_MAX:
        raise CheckpointFault(f"{path} has no vocab_size")
    return value


def _read_pool(folder: Path, manifest: Manifest) -> bytes:
    pool = next((file for file in manifest.files if file.name == POOL_FILE), None)
    if pool is None:
        return b""
    data = _read(folder / "files" / POOL_FILE)
    _require_same(folder, f"file {POOL_FILE!r}", sha256(data).digest() == pool.sha256)
    return data


def _read(path: Path, limit: int = SMALL_FILE_BYTES) -> bytes:
    try:
        return read_regular(path, limit)
    except OSError as error:
        raise CheckpointFault(
            f"cannot read {path} ({error.strerror}): a checkpoint's folder has it"
        ) from None
    except UnfitFileError as error:
        raise CheckpointFault(f"{path} {error}") from None


def _require_same(folder: Path, name: str, is_same: bool) -> None:
    if not is_same:
        raise CheckpointFault(f"the {name} in {folder} is not its manifest's: fetch it again")
