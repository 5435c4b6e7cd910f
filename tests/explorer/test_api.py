"""The API matches its description: every address, every status, every field; and version 1 keeps
all of its fields."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from assay.explorer.openapi import ROOT, VERSION, describe_api, make_api_path, read_examples
from assay.explorer.page_addresses import PAGES
from tests.explorer.api_types import get_operation, list_faults, make_validator, read_api
from tests.explorer.inside import Page, look_into

PINNED = Path(__file__).parents[1] / "data" / "explorer-api-v1.txt"
#: Statuses that the guard answers before any view.
_GUARDED = {"414", "421", "429"}


@pytest.fixture(scope="module")
def inside(demo):
    with look_into(demo) as opened:
        opened.rollouts.step()
        yield opened


@pytest.fixture(scope="module")
def ask(inside):
    """Each request from another client: nobody asks too often."""
    asked = iter(range(1 << 24))

    def get(address, **headers):
        number = next(asked)
        client = TestClient(
            inside.client.app,
            base_url="http://127.0.0.1:8400",
            client=(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1),
            raise_server_exceptions=True,
        )
        return client.get(address, headers=headers, follow_redirects=False)

    return get


def check(answer, operation):
    """Status, content type and body are among those described."""
    described = operation["responses"].get(str(answer.status_code))
    assert described is not None, (answer.request.url, answer.status_code)
    kind = answer.headers["content-type"].partition(";")[0]
    content = described["content"].get(kind)
    assert content is not None, (answer.request.url, answer.status_code, kind)
    if kind == "application/json":
        faults = list_faults(make_validator(content["schema"]), answer.json())
        assert not faults, (answer.request.url, faults[:5])


def fill(path, values):
    return re.sub(r"\{(\w+)\}", lambda m: quote(str(values[m[1]]), safe=""), path)


def test_the_description_is_one():
    api = json.loads(json.dumps(describe_api()))
    assert api["openapi"].startswith("3.1")
    for schema in api["components"]["schemas"].values():
        make_validator(schema).check_schema(schema)
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(api)))
    assert names == set(api["components"]["schemas"]), "all that is referred to, and nothing else"
    operations = [path["get"] for path in api["paths"].values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    for path, item in api["paths"].items():
        needed = [p["name"] for p in item["get"]["parameters"] if p["in"] == "path"]
        assert needed == re.findall(r"{(\w+)}", path)
    assert {make_api_path(path) for path in PAGES} <= set(api["paths"])


def test_every_example_is_of_its_type_and_whole():
    examples = read_examples()
    assert examples.keys() == PAGES.keys(), "python docs/api_examples.py DEMO writes them"
    for path, page in PAGES.items():
        document = examples[path]["document"]
        schema = {"$ref": f"#/components/schemas/{page.document.__name__}"}
        assert list_faults(make_validator(schema), document) == [], path
        assert set(examples[path]["parameters"]) == set(re.findall(r"{(\w+)}", path))
        shown = get_operation(path)["responses"]["200"]["content"]["application/json"]
        assert shown["examples"]["demo"]["value"] == document


@pytest.mark.slow
def test_every_address_answers_what_is_described(ask, demo):
    """With the examples' own parameters, which the demo has; and every table of it."""
    summary = json.loads((demo / "summary.json").read_text())
    window = summary["windows"][1]
    values = {
        "window": window["window"],
        "hotkey": window["verdicts"][0]["hotkey"],
        "group": 0,
        "rollout": 0,
        "epoch": summary["settlements"][0]["epoch_block"],
    }
    indexed = ask(f"{ROOT}/rollouts").json()["rows"][0]
    for path, page in PAGES.items():
        has = indexed if path.startswith("/rollouts/") else values
        address, operation = fill(make_api_path(path), has), get_operation(path)
        answer = ask(address)
        assert answer.status_code == 200, path
        check(answer, operation)
        assert (
            list_faults(
                make_validator({"$ref": f"#/components/schemas/{page.document.__name__}"}),
                answer.json(),
            )
            == []
        ), path
        for table in page.tables:
            found = ask(f"{address}?table={table}")
            check(found, operation)
            assert isinstance(found.json(), list)
            check(ask(f"{address}.csv?table={table}"), get_operation(path, ".csv"))


@pytest.mark.slow
def test_every_refusal_is_described(ask):
    operation = get_operation("/window/{window}")
    statuses = {}
    for address, headers in (
        (f"{ROOT}/window/999999", {}),
        (f"{ROOT}/window/5?{'x' * 2_000}", {}),
        (f"{ROOT}/window/5", {"host": "evil.example"}),
    ):
        answer = ask(address, **headers)
        check(answer, operation)
        statuses[str(answer.status_code)] = answer
    assert set(statuses) == {"404", "414", "421"}
    unknown = ask(f"{ROOT}/nowhere")
    assert unknown.status_code == 404
    assert unknown.json()["error"] == "there is no page under this address"
    assert ask("/api/v2/windows").status_code == 404


_TEXTS = st.one_of(
    st.text(max_size=80).filter(lambda text: "\x00" not in text),
    st.integers(-5, 1 << 70).map(str),
    st.sampled_from(["", "..", "%", "'; --", "\U0001d7d9", "5.0", "true", "null", "\u202e"]),
)


@pytest.mark.slow
@given(st.data())
def test_whatever_is_asked_the_answer_is_one_that_is_described(inside, ask, data):
    """Every parameter of any value, known, wrong or hostile."""
    paths = read_api()["paths"]
    path = data.draw(st.sampled_from(sorted(p for p in paths if "{rollout}" not in p)))
    operation = paths[path]["get"]
    known = {
        "hotkey": [row["address"] for row in inside.index.read("SELECT address FROM miners")],
        "window": list(range(2, 11)),
        "epoch": [row["epoch"] for row in inside.index.read("SELECT epoch FROM settlements")],
    }
    values, query = {}, []
    for one in operation["parameters"]:
        name = one["name"]
        choices = known.get(name, one["schema"].get("enum", ["1"]))
        value = data.draw(st.one_of(st.sampled_from(choices).map(str), _TEXTS))
        if one["in"] == "path":
            # a client takes one or two dots for steps in the path
            values[name] = value.replace("/", "").strip(".") or "x"
        elif data.draw(st.booleans()):
            query.append(f"{name}={quote(value, safe='')}")
    answer = ask(fill(path, values) + (f"?{'&'.join(query)}" if query else ""))
    check(answer, operation)


@pytest.mark.slow
def test_the_page_of_the_api_shows_every_address_and_links_that_work(inside, ask):
    page = inside.get("/api")
    assert page.status_code == 200
    shown = Page(page.text)
    for path in PAGES:
        assert make_api_path(path) in shown.text
    links = [look["href"] for tag, look in shown.elements if tag == "a"]
    tried = [link for link in links if link.startswith(f"{ROOT}/") and "openapi" not in link]
    assert len(tried) == len(PAGES)
    for link in tried:
        assert ask(link).status_code == 200, link
    anchors = {look.get("id") for _, look in shown.elements}
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    described = ask(f"{ROOT}/openapi.json")
    assert described.json() == json.loads(json.dumps(describe_api()))
    assert ask("/api", accept="application/json").headers["location"] == f"{ROOT}/openapi.json"


def list_values(schema):
    """A schema, or one for each value where it takes one of several."""
    return [{**schema, "enum": [value]} for value in schema.get("enum", ())] or [schema]


def list_pinned():
    """Every type's fields and every address's parameters, one a line; a parameter that takes one of
    several values has a line for each of them."""
    api, lines = describe_api(), []
    for name, schema in api["components"]["schemas"].items():
        needed = schema.get("required", [])
        for field, kind in schema.get("properties", {}).items():
            plain = json.dumps(kind, sort_keys=True)
            plain = re.sub(r'"description": "(?:[^"\\]|\\.)*"(, )?', "", plain).replace(", }", "}")
            lines.append(f"{name}.{field}{'' if field in needed else '?'}: {plain}")
    for path, item in api["paths"].items():
        lines += [
            f"{path} {one['name']}: {json.dumps(schema, sort_keys=True)}"
            for one in item["get"]["parameters"]
            for schema in list_values(one["schema"])
        ]
    return sorted(lines)


def test_version_1_keeps_what_it_has():
    """A line that is gone or changed is a field or a parameter that somebody relies on: it belongs
    to a version 2. New ones are added to the file, and the version's second number grows."""
    (version, *pinned), now = PINNED.read_text().splitlines(), list_pinned()
    assert set(pinned) - set(now) == set(), "removed or changed: version 1 cannot do without"
    grow = f"add these lines to {PINNED.name}, and let its version and VERSION grow"
    assert set(now) - set(pinned) == set(), f"new: {grow}"
    assert version == f"version {VERSION}"
