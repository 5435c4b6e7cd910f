"""An owner's words for suites, of `--prompts`. Light: PyTorch is not loaded."""

from pathlib import Path

from assay.protocol.parameters import Prompts
from assay.settings.loading import ConfigError
from assay.subnet.presets import read_changes
from assay.subnet.prompt_tables import read_family_prompts


def read_words(file: Path | None) -> dict[str, Prompts]:
    """An owner's words, by the family that they are for. Raises ConfigError, which names the
    file."""
    if file is None:
        return {}
    changes = read_changes(file)
    try:
        return read_family_prompts(changes)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
