"""Questions about documents that a model searches: `search:SHA256`.

One file has the documents, and questions with their answers. `search_rows` reads it, `index` finds
the best documents for a query, and `search_file` asks the questions. A result is a reply, so it is
exact: whole numbers and ASCII, no floats, no stemmer, no table of Unicode.
"""

from typing import TYPE_CHECKING

from assay.protocol.lazy_names import load_lazily

if TYPE_CHECKING:
    from assay.environments.search.search_file import SearchFile as SearchFile
else:
    __getattr__ = load_lazily(__name__, {"search_file": ("SearchFile",)})
