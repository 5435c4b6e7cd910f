"""Makes the text of peers and operators fit for a log."""

import re
from urllib.parse import unquote, urlsplit

#: Shortest part of an address that may be a key: `rpc` and `v1` are not.
_KEY_MIN = 6
#: Secret parts of an address in a text: user and password, and signatures and keys after the `?`.
_USER = re.compile(r"(://)[^/\s]+@")
_KEY = re.compile(r"(?i)([?&][\w.-]*(?:sig|token|key|secret|passw|credential)[\w.-]*=)[^&\s\"']+")
#: Parts of addresses in use besides host and port: peers repeat the requests that they get.
_hidden: set[str] = set()


def keep_secret(url: str) -> None:
    """Make `hide` cover every possible key in an address from now on: user, path and query. An
    address without a scheme begins with the host, and a single word is a host's name."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        whole = f"{parts.path}&{parts.query}"
        words = {parts.username, parts.password, *re.split(r"[/&=;]", whole)}
    except ValueError:  # it has no parts: any word may be a key
        words = {*re.split(r"[/@:?#&=;\[\]]", url)}
    known = {word for word in words if word}
    _hidden.update(w for w in known | {unquote(w) for w in known} if len(w) >= _KEY_MIN)


def hide(text: str) -> str:
    """A text without the parts of addresses in use besides host and port."""
    for word in sorted(_hidden, key=len, reverse=True):
        text = text.replace(word, "…")
    return text


def name_host(url: str) -> str:
    """An address without its possible secrets: user, path, query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}" + (
        f":{parts.port}" if parts.port else ""
    )


def make_printable(text: str) -> str:
    """Make a prompt printable: a file's rows or a foreign dataset must not steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def describe_error(error: Exception) -> str:
    """One printable line of at most 200 characters, whatever text the peer sent."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in hide(text))[:200]


def mask_secrets(text: str) -> str:
    """A text whose addresses contain no user, password, signature or key."""
    return _KEY.sub(r"\1…", _USER.sub(r"\1…@", text))


def mask_url(url: str) -> str:
    """An address without its possible secrets: user, query and fragment."""
    return re.sub(r"[?#].*", "…", re.sub(r".*@", "…@", url, flags=re.DOTALL), flags=re.DOTALL)


def mask_endpoint(url: str) -> str:
    """The same for an address that is unusable but may contain a key."""
    keep_secret(url)
    return hide(mask_url(url))
