"""The two files of a tokenizer together, before a library sees them."""

from assay.gate.files import JSON_BYTES
from assay.gate.rules import UnfitError
from assay.gate.tokenizer_file import find_size_fault, find_tokenizer_fault
from assay.gate.tokenizer_settings import find_added_fault, read_settings
from assay.protocol.encoding import EncodingError, Json, read_json
from assay.protocol.hashing import Domain, hash_fields
from assay.sandbox.thrown import LibraryError, catch_thrown

_CORE, _SETTINGS = "tokenizer.json", "tokenizer_config.json"


def check_tokenizer_files(
    core: bytes, settings: bytes, vocabulary: int
) -> tuple[dict[str, Json], dict[str, Json]]:
    """Check the two files of a tokenizer: tokenizer.json and tokenizer_config.json.

    Args:
        vocabulary: V, rows of the model's output matrix.

    Returns: the first one, parsed, and what of the second a library may see.

    Raises:
        UnfitError: they are refused.
    """
    if (fault := find_size_fault(core)) is not None:
        raise UnfitError(fault)
    if len(settings) > JSON_BYTES:
        raise UnfitError(f"{_SETTINGS} is larger than {JSON_BYTES >> 20} MiB")
    parsed, fields = _parse(_CORE, core), _parse(_SETTINGS, settings)
    try:
        with catch_thrown(UnfitError):  # a defect of the gate must not end every program
            try:
                kept = read_settings(fields, vocabulary)
            except UnfitError as error:
                raise UnfitError(f"{_SETTINGS}: {error}") from None
            fault = find_tokenizer_fault(parsed, vocabulary) or find_added_fault(parsed, kept)
    except LibraryError as error:
        raise UnfitError(f"{_CORE} with {_SETTINGS} breaks the gate: {error}") from None
    if fault is not None:
        raise UnfitError(fault)
    return parsed, kept


def _parse(name: str, data: bytes) -> dict[str, Json]:
    try:
        parsed: dict[str, Json] = read_json(data)
    except EncodingError as error:
        raise UnfitError(f"{name} {error}") from None
    return parsed


def digest_template(template: object) -> bytes:
    """Digest of the template that turns a problem into a prompt, 32 bytes; of no bytes without one,
    and an empty one is none. Raises an UnfitError where it is not one text."""
    template = template or None
    if not isinstance(template, str | None):
        raise UnfitError("the tokenizer's chat_template is not one text")
    try:
        return hash_fields(Domain.CHAT_TEMPLATE, *([] if template is None else [template.encode()]))
    except UnicodeError:
        raise UnfitError("the tokenizer's chat_template is not Unicode") from None
