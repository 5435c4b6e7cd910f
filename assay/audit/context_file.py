"""Reads the public facts of a closed window from their file. Loads no model."""

from pathlib import Path

from assay.protocol.beacon import QUICKNET
from assay.protocol.context import Context, context_from_json, find_context_fault
from assay.protocol.encoding import EncodingError, read_json
from assay.settings.loading import ConfigError

#: Most bytes of a context. A full subnet's is below 200 KiB.
_CONTEXT_BYTES = 16 << 20


def read_context(path: Path, allow_local_beacon: bool) -> Context:
    """The public facts of a closed window, from their file. Raises ConfigError: it cannot be read,
    or has no facts to judge by."""
    try:
        if path.stat().st_size > _CONTEXT_BYTES:
            raise ConfigError(f"{path} is larger than {_CONTEXT_BYTES >> 20} MiB: not a context")
        context = context_from_json(read_json(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"cannot read the context {path}: {error.strerror}") from None
    except EncodingError as error:
        raise ConfigError(f"{path} is not a window's context: {error}") from None
    if context.parameters.beacon != QUICKNET and not allow_local_beacon:
        raise ConfigError(
            "the context's beacon chain is not quicknet; if it is a demo's own, add "
            "--allow-local-beacon"
        )
    fault = find_context_fault(context)
    if fault is not None:
        raise ConfigError(f"{path}: {fault}")
    if context.audit is None:
        raise ConfigError(f"{path} has no audit beacon yet: the window is still open")
    return context
