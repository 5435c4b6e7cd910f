"""What peers and operators wrote, made fit for a log."""

import re


def describe_error(error: Exception) -> str:
    """One printable line of at most 200 characters, whatever the peer wrote into it."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def mask_url(url: str) -> str:
    """An address without what may be a secret in it: user, query and fragment."""
    return re.sub(r"[?#].*", "…", re.sub(r".*@", "…@", url, flags=re.DOTALL), flags=re.DOTALL)
