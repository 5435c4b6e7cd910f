"""Parts of pages that scripts write: each is between `<!-- name -->` and `<!-- /name -->`."""

import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, is_typeddict


#: Whether pages are compared instead of written.
CHECK = "--check" in sys.argv[1:]


def fill(text: str, parts: Mapping[str, str], page: str) -> str:
    """A page's text with the parts between its marks written anew. Exits if a mark is not there once."""
    for name, part in parts.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        text, count = re.subn(pattern, lambda m, p=part: f"{m[1]}{p}\n{m[2]}", text, flags=re.S)
        if count != 1:
            sys.exit(f"{page} has {count} places for {name!r}")
    return text


def write_or_check(new: Mapping[Path, str]) -> int:
    """Writes pages, or with `--check` says whether one differs: the exit code."""
    if CHECK:
        return int(any(page.read_text() != text for page, text in new.items()))
    for page, text in new.items():
        page.write_text(text)
    return 0


def find_remarks(of: type[Any]) -> dict[str, str]:
    """Field → what the code says of it: a comment after or above it, or an entry under
    `Attributes`; of a TypedDict also what those say that it extends."""
    source = inspect.getsource(of)
    remarks: dict[str, str] = {}
    for base in re.findall(r"\w+", source.partition("(")[2].partition(")")[0]):
        extended = vars(inspect.getmodule(of)).get(base)
        if is_typeddict(of) and is_typeddict(extended):
            remarks |= find_remarks(extended)
    remarks |= dict(re.findall(r"^    (\w+): .*?  # (.+)$", source, re.M))
    for above, name in re.findall(r"((?:^    #: .+\n)+)^    (\w+):", source, re.M):
        remarks[name] = " ".join(line.strip()[3:] for line in above.splitlines())
    _, _, attributes = (inspect.getdoc(of) or "").partition("Attributes:\n")
    for name, text in re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", attributes, re.M):
        remarks[name] = " ".join(text.split())
    return remarks
