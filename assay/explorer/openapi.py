"""The API's OpenAPI 3.1 document, made from `PAGES` and the types of their documents.

It is the same for every record. Examples are of a demo; `docs/api_examples.py` writes them.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from assay.explorer.documents.shared import ErrorDocument
from assay.explorer.index import NUMBER_MAX
from assay.explorer.labels import ENDS
from assay.explorer.page_addresses import PAGES, PageAddress
from assay.explorer.rollout_index import ORDERS
from assay.explorer.views.common import ROWS_MAX, Query
from assay.explorer.views.miners import SORTS
from assay.explorer.views.rollout_list import GROUP_ORDERS

Schema = dict[str, Any]
#: Grows with every field that is added; what is removed or changes its meaning makes another API.
VERSION = "1.10"
ROOT = "/api/v1"
_EXAMPLES = Path(__file__).with_name("api_examples.json")
_PLACES = {
    "window": "number of a window",
    "hotkey": "a miner's hotkey, SS58",
    "group": "number of a group of the miner's file, from 0",
    "rollout": "number of a rollout of the group, from 0",
    "epoch": "epoch block of a settlement",
}
#: Orders of a list, by its address.
_SORTS = {
    "/miners": SORTS,
    "/rollouts": ORDERS,
    "/rollouts/{window}/{hotkey}/{group}": GROUP_ORDERS,
}
_RANGE = "a number, or a range such as 8-12, 8- or -12"
_LINK = {
    "link": {
        "description": 'The address of the next part of a list, with rel="next".',
        "schema": {"type": "string"},
    }
}


class _Untitled(GenerateJsonSchema):
    """A field's name says enough."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def make_api_path(path: str) -> str:
    """The address under which the API serves a page's document."""
    return ROOT + ("/overview" if path == "/" else path)


@cache
def describe_api() -> Schema:
    """The whole document, which takes 0.1 s the first time. Shared: nobody changes it."""
    types = [ErrorDocument, *dict.fromkeys(page.document for page in PAGES.values())]
    wanted = [(kind, "serialization", TypeAdapter(kind)) for kind in types]
    _, schemas = TypeAdapter.json_schemas(
        wanted,  # type: ignore[arg-type]  # each key is its type
        ref_template="#/components/schemas/{model}",
        schema_generator=_Untitled,
    )
    examples = read_examples()
    paths: Schema = {}
    for path, page in PAGES.items():
        example = examples.get(path, {})
        paths[make_api_path(path)] = {"get": _describe_get(path, page, example)}
        if page.tables:
            paths[make_api_path(path) + ".csv"] = {"get": _describe_csv(path, page, example)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Assay explorer",
            "version": VERSION,
            "summary": "A validator's public record, as JSON and CSV.",
            "description": (
                "One validator published everything here; each document's `command` "
                "derives it again. Under /api/v1 fields may be added, and none is removed or "
                "changes its meaning. Digests are hex without 0x, hotkeys SS58, shares 0 to 1; "
                "null means that a value is not known."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas["$defs"].items()))},
    }


@cache
def read_examples() -> Mapping[str, Any]:
    """Examples by path: parameter values, and the document with shortened lists."""
    examples: Mapping[str, Any] = json.loads(_EXAMPLES.read_bytes())
    return examples


def get_row_type(page: PageAddress, place: str) -> Any:
    """The type of a table's rows."""
    kind: Any = page.document
    for name in place.split("."):
        kind = get_type_hints(kind)[name]
        kind = next((one for one in get_args(kind) if one is not type(None)), kind)
    return kind


def _describe_get(path: str, page: PageAddress, example: Mapping[str, Any]) -> Schema:
    document = _refer(page.document)
    rows = list(dict.fromkeys(get_row_type(page, place) for place in page.tables.values()))
    tables = [{"type": "array", "items": _refer(kind)} for kind in rows]
    content: Schema = {"schema": {"anyOf": [document, *tables]} if tables else document}
    if "document" in example:
        content["examples"] = {"demo": {"value": example["document"]}}
    parameters = _list_parameters(path, example, page.parameters)
    if page.tables:
        about = "this table alone, as a list of its rows"
        parameters.append(_describe_table(page, about))
    return {
        "operationId": _name(path),
        "summary": (page.document.__doc__ or "").strip().split("\n\n")[0],
        "parameters": parameters,
        "responses": _list_responses(
            {"application/json": content}, "application/json", {"schema": _refer(ErrorDocument)}
        ),
    }


def _describe_csv(path: str, page: PageAddress, example: Mapping[str, Any]) -> Schema:
    parameters = _list_parameters(path, example, page.parameters)
    parameters.append(_describe_table(page, "the table; the first of these if none is named"))
    text = {"schema": {"type": "string"}}
    return {
        "operationId": f"{_name(path)}Csv",
        "summary": f"A table of {make_api_path(path)} as CSV, a line of names first.",
        "parameters": parameters,
        "responses": _list_responses({"text/csv": text}, "text/plain", text),
    }


def _refer(kind: Any) -> Schema:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _name(path: str) -> str:
    words = [word for word in re.split(r"\W+", path) if word] or ["overview"]
    return "get" + "".join(word.capitalize() for word in words)


def _list_parameters(path: str, example: Mapping[str, Any], names: tuple[str, ...]) -> list[Schema]:
    """Parameters in the path, and those that the page reads from the query."""
    parameters = []
    values = example.get("parameters", {})
    for name in re.findall(r"{(\w+)}", path):
        kind: Schema = {"type": "integer", "minimum": 0, "exclusiveMaximum": NUMBER_MAX}
        if name == "hotkey":
            kind = {"type": "string", "maxLength": Query.LIMIT}
        one = {"name": name, "in": "path", "required": True, "description": _PLACES[name]}
        example_of = {"example": values[name]} if name in values else {}
        parameters.append(one | {"schema": kind} | example_of)
    known: dict[str, tuple[str, Schema]] = {
        "page": ("part of the list, from 1", {"type": "integer", "minimum": 1, "default": 1}),
        "size": ("rows at once", {"type": "integer", "minimum": 1, "maximum": ROWS_MAX}),
        "sort": ("order of the list", {"type": "string", "enum": list(_SORTS.get(path, ()))}),
        "checkpoint": ("rows of one checkpoint's step", {"type": "integer", "minimum": 0}),
        "q": ("the text to search for", {"type": "string"}),
        "window": (f"windows: {_RANGE}", {"type": "string"}),
        "miner": ("a hotkey or its first letters, a name or a uid", {"type": "string"}),
        "level": ("level of the problems", {"type": "integer", "minimum": 0}),
        "environment": ("name of the environment that asked", {"type": "string"}),
        "reward": (f"rewards, 0 to 1: {_RANGE}", {"type": "string"}),
        "tokens": (f"tokens of a completion: {_RANGE}", {"type": "string"}),
        "verdict": ("a reason code of its miner's window, or none", {"type": "string"}),
        "end": ("finish reason", {"type": "string", "enum": list(ENDS)}),
        "tool": ("name of a tool that it called", {"type": "string"}),
    }
    for name in names:
        about, kind = known[name]
        parameters.append({"name": name, "in": "query", "description": about, "schema": kind})
    return parameters


def _describe_table(page: PageAddress, about: str) -> Schema:
    names = {"type": "string", "enum": list(page.tables)}
    return {"name": "table", "in": "query", "description": about, "schema": names}


def _list_responses(content: Schema, kind: str, refusal: Schema) -> Schema:
    text = {"text/plain": {"schema": {"type": "string"}}}

    def refuse(about: str) -> Schema:
        return {"description": about, "content": {kind: refusal}}

    return {
        "200": {"description": "As it is now.", "headers": _LINK, "content": content},
        "404": refuse("There is nothing under this address; `error` says what there is."),
        "414": {"description": "The address is too long.", "content": text},
        "421": {"description": "Nothing is served here under that name.", "content": text},
        "429": {"description": "Too many requests; `Retry-After` says when.", "content": text},
        "503": refuse("Not yet, or not now: ask again after a moment."),
    }
