"""The page that shows the API: its addresses, an example each that works here, and its types."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from assay.explorer.openapi import ROOT, VERSION, Schema, describe_api, make_api_path, read_examples
from assay.explorer.page_addresses import PAGES
from assay.explorer.page_reader import PageReader


def describe_api_page(reader: PageReader) -> Mapping[str, Any]:
    """What the page's template shows: the OpenAPI document, and addresses to try."""
    api, examples, here = describe_api(), read_examples(), _choose_values(reader)
    return {
        "title": "API",
        "version": VERSION,
        "description": api["info"]["description"],
        "described": f"{ROOT}/openapi.json",
        "addresses": [_describe_address(path, api, examples.get(path, {}), here) for path in PAGES],
        "types": [
            _describe_type(name, schema) for name, schema in api["components"]["schemas"].items()
        ],
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
    return values


def _describe_address(
    path: str, api: Schema, example: Mapping[str, Any], here: Mapping[str, Any]
) -> Mapping[str, Any]:
    described = api["paths"][make_api_path(path)]["get"]
    parameters = described["parameters"]
    needed = {p["name"] for p in parameters if p["in"] == "path"}
    address = None
    if needed <= here.keys():
        filled = {name: quote(str(value), safe="") for name, value in here.items()}
        address = make_api_path(path).format(**filled)
    document = example.get("document")
    return {
        "path": make_api_path(path),
        "summary": described["summary"],
        "parameters": [
            {"name": p["name"], "about": p["description"], "values": p["schema"].get("enum", [])}
            for p in parameters
        ],
        "csv": make_api_path(path) + ".csv" in api["paths"],
        "type": PAGES[path].document.__name__,
        "try": address,
        "example": None if document is None else json.dumps(document, indent=1, ensure_ascii=False),
    }


def _describe_type(name: str, schema: Schema) -> Mapping[str, Any]:
    needed = schema.get("required", [])
    return {
        "name": name,
        "about": schema.get("description", ""),
        "fields": [
            {
                "name": field,
                "kind": _write_kind(kind),
                "refers": _find_reference(kind),
                "about": _find_about(kind),
                "needed": field in needed,
            }
            for field, kind in schema.get("properties", {}).items()
        ],
    }


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


def _find_reference(kind: Schema) -> str | None:
    """The type of a field's values: of a list its elements', of an optional field the one besides
    null."""
    for one in kind.get("anyOf", [kind]):
        reference = one.get("$ref") or one.get("items", {}).get("$ref")
        if reference:
            return str(reference).rpartition("/")[2]
    return None


def _find_about(kind: Schema) -> str:
    texts = [kind.get("description"), *(one.get("description") for one in kind.get("anyOf", ()))]
    return next((text for text in texts if text), "")
