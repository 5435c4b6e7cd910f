"""The types of the API, compared with documents: nothing missing, nothing undescribed."""

import re
from copy import deepcopy
from functools import cache

from assay.explorer.openapi import describe_api, make_api_path
from assay.explorer.page_addresses import PAGES


@cache
def read_api():
    """The API's description, in which an object has no field but those described."""
    api = deepcopy(describe_api())
    for schema in api["components"]["schemas"].values():
        schema.setdefault("additionalProperties", False)
    return api


def make_validator(schema):
    from jsonschema import Draft202012Validator  # a second of CPU time, for all that collect tests

    return Draft202012Validator(schema | {"components": read_api()["components"]})


@cache
def _get_validator(name):
    return make_validator({"$ref": f"#/components/schemas/{name}"})


def find_address(path):
    """The address among `PAGES` that a path is of; None: it is of none."""
    plain = path.partition("?")[0].removesuffix(".json").removesuffix(".csv")
    plain = "/" if plain == "/index" else plain
    patterns = {re.sub(r"\{\w+\}", "[^/]+", address): address for address in PAGES}
    return next((a for pattern, a in patterns.items() if re.fullmatch(pattern, plain)), None)


def list_faults(validator, document):
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator.iter_errors(document)
    ]


def check_document(path, document):
    """A page's document is of the type that the API says."""
    address = find_address(path)
    if address is not None and "table=" not in path:
        faults = list_faults(_get_validator(PAGES[address].document.__name__), document)
        assert not faults, (path, faults[:5])


def get_operation(path, ending=""):
    return read_api()["paths"][make_api_path(path) + ending]["get"]
