"""What `assay publish-hub` prints."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from assay.audit.provenance.hub_publication import HubPublication, PlannedPush
from assay.cli.console import make_table, print_result
from assay.network.hub.names import CALLED


def show_publication(publication: HubPublication, as_json: bool) -> None:
    """Show where the content is, or would be."""
    if publication.pushed is None:
        _show_plans(publication.planned, as_json)
        return
    document = {
        **publication.about,
        "pushed": {
            CALLED[name.kind]: {"repository": name.repository, "commit": commit, "url": url}
            for name, (commit, url) in publication.pushed.items()
        },
    }
    lines = [f"{CALLED[name.kind]} {name}: {url}" for name, (_, url) in publication.pushed.items()]
    print_result(document, as_json, "\n".join(lines))


def _show_plans(plans: Sequence[PlannedPush], as_json: bool) -> None:
    document: dict[str, Any] = {}
    parts: list[RenderableType] = []
    for plan in plans:
        kind, repository = CALLED[plan.name.kind], plan.name.repository
        facts = {"repository": repository, "files": plan.sizes}
        document[kind] = facts | {"card": plan.card, "content": plan.content}
        table = make_table(f"{kind} {repository}", "bytes")
        for path, size in plan.sizes.items():
            table.add_row(Text(path), f"{size:,}")
        parts += [table, Text(plan.card)]
    print_result(document, as_json, Group(*parts, Text("Nothing was pushed.")))
