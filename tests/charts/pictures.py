"""What a picture says, as an XML parser reads it."""

from pathlib import Path
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"


def read_texts(path: Path) -> list[str]:
    """All texts of a drawing: title, legend, labels, ticks, notes."""
    return [one.text or "" for one in ElementTree.parse(path).iter(f"{SVG}text")]
