"""Adds what the wheel ships of other projects to a bill of materials: `make sbom`.

`bundled.py FILE` changes a CycloneDX document in place. cyclonedx-py lists installed Python
packages only; the explorer's pages also bring uPlot, see `assay/explorer/static/uplot.txt`.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

STATIC = Path(__file__).parent.parent / "assay" / "explorer" / "static"


def describe_uplot() -> dict[str, Any]:
    """uPlot as a component. Raises ValueError if its note names no version or no digests."""
    note = (STATIC / "uplot.txt").read_text()
    version = re.search(r"npm package uplot, version ([\d.]+\d),", note)
    digests = re.findall(r"^([0-9a-f]{64})  (\S+)$", note, re.MULTILINE)
    if version is None or not digests:
        raise ValueError("assay/explorer/static/uplot.txt names no version or no digests")
    reference = f"pkg:npm/uplot@{version[1]}"
    return {
        "bom-ref": reference,
        "components": [
            {
                "bom-ref": f"{reference}#{file}",
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "name": f"assay/explorer/static/{file}",
                "type": "file",
            }
            for digest, file in digests
        ],
        "licenses": [{"license": {"id": "MIT"}}],
        "name": "uplot",
        "purl": reference,
        "type": "library",
        "version": version[1],
    }


def add(document: dict[str, Any]) -> None:
    """Add uPlot, and that the wheel depends on it."""
    uplot = describe_uplot()
    reference = uplot["bom-ref"]
    document["components"].append(uplot)
    root = document["metadata"]["component"]["bom-ref"]
    for one in document["dependencies"]:
        if one["ref"] == root:
            one["dependsOn"] = sorted({*one.get("dependsOn", []), reference})
    document["dependencies"].append({"ref": reference})


if __name__ == "__main__":
    file = Path(sys.argv[1])
    document = json.loads(file.read_text())
    add(document)
    file.write_text(json.dumps(document, indent=2) + "\n")
