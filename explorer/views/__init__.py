"""What pages show, as JSON has it: each view makes one document, and page and JSON are both it.

A view is a function of a `PageReader` and a `Query`: start with `overview.view_overview`, the first
page's; `assay.explorer.routes.PAGES` says which address shows which, `common` has what they share.
To show one more column: the view's document, and the template of the same page. Views never open a
file, a chain or a model.
"""

__all__ = [
    "attacks",
    "common",
    "course",
    "ledger_entries",
    "miners",
    "overview",
    "rollouts",
    "settlements",
    "windows",
]
