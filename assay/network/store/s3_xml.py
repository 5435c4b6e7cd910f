"""The XML of an S3 service's answers, and of the requests to it.

Source: Amazon S3 API reference, ListObjectsV2, CreateMultipartUpload, ListMultipartUploads,
ListParts, CompleteMultipartUpload and "Error responses". A fault of an answer is a ValueError that
repeats nothing of it but an error's name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.sax.saxutils import escape

#: Longest token, name of an upload and ETag that are accepted, characters.
_TOKEN_MAX = 4_096
#: Most bytes of a page of names, uploads or parts.
PAGE_MAX = 4 << 20

#: An error's name, such as `NoSuchBucket`. No key's name and no token has that form.
_CODE = re.compile(r"<Code>([A-Z][a-z][A-Za-z]{1,48})</Code>")


def read_code(body: bytes) -> str | None:
    """The name of an error, or None."""
    match = _CODE.search(body.decode(errors="replace"))
    return None if match is None else match[1]


def read_page(body: bytes) -> tuple[list[str], str]:
    """Keys of one page of a listing, and the token of the next one; "": this is the last."""
    root = _read(body, "ListBucketResult")
    keys = [_find(entry, "Key") for entry in root.iterfind("{*}Contents")]
    if root.findtext("{*}IsTruncated") != "true":
        return keys, ""
    return keys, _find(root, "NextContinuationToken")


def read_upload(body: bytes) -> str:
    """The name of a new upload."""
    return _find(_read(body, "InitiateMultipartUploadResult"), "UploadId")


def read_begun(body: bytes, key: str) -> list[str]:
    """Names of unfinished uploads of one object, the newest last."""
    root = _read(body, "ListMultipartUploadsResult")
    uploads = [one for one in root.iterfind("{*}Upload") if one.findtext("{*}Key") == key]
    return [
        name for _, name in sorted((_find(u, "Initiated"), _find(u, "UploadId")) for u in uploads)
    ]


@dataclass(frozen=True, slots=True)
class UploadPart:
    """A part of an object, with its size in bytes and its ETag: with most services its MD5 in
    hex."""

    size: int
    md5: str


def read_parts(body: bytes) -> tuple[dict[int, UploadPart], str]:
    """Parts by number, and the marker after which the next page begins; "": this is the last."""
    root = _read(body, "ListPartsResult", "ListPartsResponse")  # both are in use
    parts = {
        _find_number(part, "PartNumber"): UploadPart(
            _find_number(part, "Size"), _find(part, "ETag").strip('"')
        )
        for part in root.iterfind("{*}Part")
    }
    more = root.findtext("{*}IsTruncated") == "true"
    return parts, f"{_find_number(root, 'NextPartNumberMarker')}" if more else ""


def require_complete(body: bytes) -> None:
    """Raise an error if the answer reports one: a service may send 200 first and then fail to
    assemble the parts."""
    _read(body, "CompleteMultipartUploadResult")


def write_parts(tags: Sequence[str]) -> bytes:
    """The list of an object's parts, by their ETags, in order. A malformed ETag is refused."""
    if any(not 0 < len(tag) <= _TOKEN_MAX or not tag.isprintable() for tag in tags):
        raise ValueError("a part has no ETag")
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(tag)}</ETag></Part>"
        for number, tag in enumerate(tags, 1)
    )
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<CompleteMultipartUpload xmlns="{space}">{parts}</CompleteMultipartUpload>'.encode()


def _read(body: bytes, *expected: str) -> ElementTree.Element:
    """The root element of an answer."""
    try:
        text = body.decode().lstrip()  # services send white space while they put parts together
        if "<!DOCTYPE" in text:  # they declare entities, and S3 has none
            raise ValueError("the answer declares a document type")
        root = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError):
        raise ValueError("the answer is not XML") from None
    if root.tag.rpartition("}")[2] not in expected:
        raise ValueError(f"the answer is not {expected[0]} but {read_code(body) or 'another one'}")
    return root


def _find(element: ElementTree.Element, name: str) -> str:
    text = element.findtext(f"{{*}}{name}") or ""
    if not 0 < len(text) <= _TOKEN_MAX:
        raise ValueError(f"the answer has no {name}")
    return text


def _find_number(element: ElementTree.Element, name: str) -> int:
    text = _find(element, name)
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(f"the answer has no {name}")
    return int(text)
