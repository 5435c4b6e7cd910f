"""The name of this program, as status.json and published records state it."""

from importlib.metadata import version


def get_software() -> str:
    """The name and version of this program."""
    return f"assay {version('assay')}"
