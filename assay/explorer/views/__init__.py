"""The explorer's views. Each makes one JSON document, and a page and its JSON show that document.

A view is a function of a `PageReader` and a `Query`: start with `overview.view_overview`, the first
page's; `assay.explorer.routes.PAGES` says which address shows which, `common` has what they share.
To show one more column: the view's document, and the template of the same page. Views never open a
file, a chain or a model.
"""

__all__ = [
    "attacks",
    "common",
    "course",
    "finding",
    "ledger_entries",
    "merged_rounds",
    "miners",
    "overview",
    "rollouts",
    "settlements",
    "validators",
    "windows",
]
