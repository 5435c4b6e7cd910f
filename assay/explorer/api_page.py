"""The page that shows the API: its addresses, an example each that works here, and its types."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

from assay.explorer.openapi import ROOT, Schema, describe_api, make_api_path, read_examples
from assay.explorer.page_addresses import PAGES
from assay.explorer.page_reader import PageReader


def describe_api_page(reader: PageReader) -> Mapping[str, Any]:
    """What the page's template shows: the OpenAPI document, and addresses to try."""
    api, examples, here = describe_api(), read_examples(), _choose_values(reader)
    return {
        "title": "API",
        "info": api["info"],
        "described": f"{ROOT}/openapi.json",
        "addresses": [_describe_address(path, api, examples.get(path, {}), here) for path in PAGES],
        "types": _list_types(),
        "command": None,
    }


def _choose_values(reader: PageReader) -> Mapping[str, Any]:
    """Parameters for which this record has data."""
    row = reader.ask_one(
        "SELECT r.window, m.address FROM rows r JOIN miners m ON m.id = r.miner "
        "WHERE r.groups > 0 ORDER BY r.window DESC, r.score DESC LIMIT 1"
    )
    epoch = reader.ask_one("SELECT max(epoch) AS epoch FROM settlements")["epoch"]
    values: dict[str, Any] = {} if epoch is None else {"epoch": epoch}
    if row is not None:
        values |= {"window": row["window"], "hotkey": row["address"], "group": 0, "rollout": 0}
    groups = reader.rollouts and reader.rollouts.read(
        "SELECT window, hotkey, number FROM groups WHERE verdict IS NOT NULL "
        "ORDER BY window DESC LIMIT 1"
    )
    if values.keys() >= {"window"} and groups:
        window, hotkey, group = groups[0]
        values |= {"window": window, "hotkey": hotkey, "group": group, "is_indexed": True}
    return values


def _describe_address(
    path: str, api: Schema, example: Mapping[str, Any], here: Mapping[str, Any]
) -> Mapping[str, Any]:
    operation = api["paths"][make_api_path(path)]["get"]
    needed = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
    address = None
    if path.startswith("/rollouts/"):
        needed.add("is_indexed")
    if needed <= here.keys():
        filled = {name: quote(str(value), safe="") for name, value in here.items()}
        address = make_api_path(path).format(**filled)
    document = example.get("document")
    return {
        "path": make_api_path(path),
        "operation": operation,
        "csv": make_api_path(path) + ".csv" in api["paths"],
        "type": PAGES[path].document.__name__,
        "try": address,
        "example": None if document is None else json.dumps(document, indent=1, ensure_ascii=False),
    }


@cache
def _list_types() -> list[Mapping[str, Any]]:
    return [
        {"name": name, "about": schema.get("description", ""), "fields": _list_fields(schema)}
        for name, schema in describe_api()["components"]["schemas"].items()
    ]


def _list_fields(schema: Schema) -> list[Mapping[str, Any]]:
    needed = schema.get("required", [])
    return [
        {
            "name": field,
            "kind": _write_kind(kind),
            # the type of a field's values: of a list its elements', of an optional field the other
            "refers": next(iter(re.findall(r"#/components/schemas/(\w+)", str(kind))), None),
            "about": next(_iterate_descriptions(kind), ""),
            "needed": field in needed,
        }
        for field, kind in schema.get("properties", {}).items()
    ]


def _iterate_descriptions(kind: Schema) -> Iterator[str]:
    return (one["description"] for one in (kind, *kind.get("anyOf", ())) if "description" in one)


def _write_kind(kind: Schema) -> str:
    if "anyOf" in kind:
        return " or ".join(map(_write_kind, kind["anyOf"]))
    if "$ref" in kind:
        return str(kind["$ref"]).rpartition("/")[2]
    if kind.get("type") == "array":
        return f"list of {_write_kind(kind['items'])}"
    if kind.get("type") == "object":
        return f"object of {_write_kind(kind['additionalProperties'])}"
    return str(kind["type"])
