"""Locators: a commitment's address of a store, a URL of at most 80 bytes.

A locator is public and only for reading. Every part that could contain a secret or be ambiguous is
refused: user, query, fragment, escapes, dot segments.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from assay.network.store.base import LOCATOR_MAX, ServedError
from assay.network.text import mask_url

_PORTS = {"https": 443, "http": 80}
# every text matches in at most one way: an untrusted locator must not keep the matcher busy
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_PRINTABLE = re.compile(r"[!-~]*")
_PATH = re.compile(r"(/[A-Za-z0-9_.~-]+)*/?")


@dataclass(frozen=True, slots=True)
class FolderLocator:
    """`file:///an/absolute/folder`."""

    path: Path


@dataclass(frozen=True, slots=True)
class WebLocator:
    """`https://host[:port][/path]`, or `http://`. The host is in lower case, IPv6 without brackets.
    The path begins with a slash and does not end with one; empty: the whole host."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """The URL, without a slash at its end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    def is_below(self, root: "WebLocator") -> bool:
        """Return whether it is the root or below it."""
        place = (self.scheme, self.host, self.port)
        return place == (root.scheme, root.host, root.port) and (
            self.path == root.path or self.path.startswith(f"{root.path}/")
        )


Locator = FolderLocator | WebLocator


def read_locator(text: str) -> Locator:
    """The place that a locator names. It is not opened yet. `ServedError`: not a locator. The error
    does not repeat a possible secret in it."""
    if len(text.encode(errors="replace")) > LOCATOR_MAX:
        raise ServedError(f"a locator has at most {LOCATOR_MAX} bytes: use a shorter path")
    if not _PRINTABLE.fullmatch(text):  # urlsplit drops white space
        raise ServedError(
            f"{mask_url(text)!r} is not a store: it has blanks, or letters that must be escaped"
        )
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:  # its text can repeat a part of a password
        raise ServedError(f"{mask_url(text)!r} is not a URL") from None
    if "@" in url.netloc or "?" in text or "#" in text:
        raise ServedError(
            f"{mask_url(text)!r} is not a public locator: everybody can read it on chain, so leave "
            "out user, query, signature and fragment"
        )
    if url.scheme == "file" and url.netloc in ("", "localhost"):
        path = Path(unquote(url.path))
        if path.is_absolute() and "\0" not in str(path):
            return FolderLocator(path)
    elif url.scheme in _PORTS and port != 0 and _is_plain(url.netloc, port):
        host = (url.hostname or "").lower()
        segments = url.path.split("/")
        if _is_host(host) and _PATH.fullmatch(url.path) and not {".", ".."} & set(segments):
            path_text = url.path.removesuffix("/")
            return WebLocator(url.scheme, host, port or _PORTS[url.scheme], path_text)
    raise ServedError(
        f"{mask_url(text)!r} is not a store: write https://host/path or file:///an/absolute/folder"
    )


def _is_plain(netloc: str, port: int | None) -> bool:
    """Return whether a port is written in the usual way, or not at all."""
    written = re.search(r":([^\]:]*)$", netloc)
    return written is None or written[1] == str(port)


def _is_host(text: str) -> bool:
    if ":" not in text:
        return _HOST.fullmatch(text) is not None
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text
