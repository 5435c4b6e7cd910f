"""What keeps a world's module exact: the names and forms of Python that it has no use for."""

import ast
import re

#: Not the same on all Pythons and machines.
INEXACT = {
    *("float", "round", "hash", "id", "set", "frozenset", "eval", "repr", "random", "time"),
    *("lower", "upper", "title", "casefold", "swapcase", "capitalize", "isdigit", "isdecimal"),
    *("isnumeric", "isalpha", "isalnum", "isspace", "isprintable", "isidentifier", "normalize"),
    *("split", "rsplit", "splitlines", "math", "json", "unicodedata", "locale", "Exception"),
}


def require_exact(source: str) -> None:
    """Fail if the source of a world's module has anything inexact."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        name = getattr(node, "attr", getattr(node, "id", None))
        assert name not in INEXACT, (name, node.lineno)  # type: ignore[attr-defined]
        if name in ("strip", "lstrip", "rstrip"):  # without characters: Python's own blanks
            assert f".{name}()" not in ast.unparse(tree)
        assert not isinstance(node, ast.Div | ast.Try | ast.Set | ast.SetComp), ast.dump(node)
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float)
            assert not re.search(r"\\[bdsw]", str(node.value), re.IGNORECASE)
