"""The explorer's views. Each makes one JSON document, and a page and its JSON show that document.

A view is a function of a `PageReader` and a `Query` that returns a type of `documents`. Start with
`overview.view_overview`, the first page's. `assay.explorer.page_addresses.PAGES` has the address of
each, and `common` their shared parts. A new column needs its field in the document's type, its
value in the view, and its place in the page's template. Views never open a file, a chain or a
model.
"""

__all__ = [
    "attacks",
    "checks",
    "common",
    "course",
    "finding",
    "first_screen",
    "gains",
    "held_out",
    "ledger_entries",
    "merged_rounds",
    "miners",
    "overview",
    "proposals",
    "rollouts",
    "settlements",
    "validators",
    "watching",
    "windows",
]
