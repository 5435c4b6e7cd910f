"""A taskset and its data as one file, which `verifiers:SHA256` names.

The file is a zip with `verifiers.json`, `taskset.whl` and `data.jsonl`. The first names the SHA-256
of the other two, so that each can be compared with its origin. One file holds all of it, because a
network names one digest.
"""

import io
import json
import zipfile
from hashlib import sha256

from assay.environments.foreign.archive import ZIP_FAULTS, read_member, write_archive
from assay.environments.problem_file import ROW_MAX
from assay.environments.problem_table import DOCUMENT_MAX, ROWS_MAX
from assay.environments.tasksets.wheel_file import WheelError, read_wheel
from assay.protocol.encoding import EncodingError, read_json

#: Names of the files of a bundle. The first one tells a bundle from a package.
MANIFEST, WHEEL, DATA = "verifiers.json", "taskset.whl", "data.jsonl"
_MANIFEST_MAX = 1_000
#: Most bytes of a bundle: it goes into the sandbox whole.
BUNDLE_MAX = 5 << 19


def write_bundle(wheel: bytes, data: bytes) -> bytes:
    """The bundle of a wheel and data that have been checked. The bytes are always the same, unless
    it is so large that it has to be packed."""
    manifest = {
        "interface": "verifiers.v1",
        "wheel": sha256(wheel).hexdigest(),
        "data": sha256(data).hexdigest(),
    }
    text = (json.dumps(manifest, indent=1) + "\n").encode()
    members = {MANIFEST: text, WHEEL: wheel, DATA: data}
    stored = write_archive(members)
    return stored if len(stored) <= BUNDLE_MAX else write_archive(members, zipfile.ZIP_DEFLATED)


def find_bundle_fault(data: bytes) -> str | None:
    """The fault that makes bytes no bundle, or a part not the one that the bundle names; None
    without a fault."""
    if len(data) > BUNDLE_MAX:
        return f"it has {len(data):,} bytes packed, more than {BUNDLE_MAX:,}"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if list(sizes) != [MANIFEST, WHEEL, DATA] or sum(sizes.values()) > DOCUMENT_MAX:
                most = f"within {DOCUMENT_MAX} bytes"
                return f"it has not {MANIFEST}, {WHEEL} and {DATA} alone, {most}"
            if sizes[MANIFEST] > _MANIFEST_MAX:
                return f"its {MANIFEST} has more than {_MANIFEST_MAX} bytes"
            manifest_data, wheel, rows = (
                read_member(archive, name, size) for name, size in sizes.items()
            )
    except ZIP_FAULTS as error:
        return f"it is not a zip archive: {error or 'it ends too soon'}"
    try:
        manifest = read_json(manifest_data)
    except EncodingError as error:
        return f"its {MANIFEST} {error}"
    for name, part in (("wheel", wheel), ("data", rows)):
        if not isinstance(manifest, dict) or manifest.get(name) != sha256(part).hexdigest():
            return f"its {name} has not the SHA-256 that its {MANIFEST} names"
    try:
        read_wheel(wheel)
    except WheelError as error:
        return f"its wheel: {error}"
    return find_data_fault(rows)


def find_data_fault(data: bytes) -> str | None:
    """The fault that makes bytes no JSON Lines for a taskset, or None. Empty bytes have no
    fault."""
    if len(data) > DOCUMENT_MAX:
        return f"its data have more than {DOCUMENT_MAX >> 20} MiB"
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    if len(lines) > ROWS_MAX:
        return f"its data have more than {ROWS_MAX} rows"
    for number, line in enumerate(lines, 1):
        try:
            if len(line) > ROW_MAX or not isinstance(read_json(line), dict):
                return f"row {number} of its data is not a JSON object of at most {ROW_MAX} bytes"
        except EncodingError as error:
            return f"row {number} of its data {error}"
    return None
