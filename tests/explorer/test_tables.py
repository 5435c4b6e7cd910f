"""Every table of every page by itself: as CSV and as JSON, whole, and safe in a spreadsheet."""

import csv
import io
import json
import re

import pytest

from assay.explorer.csv_tables import pick_rows, write_csv
from assay.explorer.page_addresses import PAGES
from assay.explorer.views.common import ROWS_MAX
from tests.explorer.api_types import find_address
from tests.explorer.inside import Page, look_into, wait_for_course
from tests.explorer.program import list_pages

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inside(demo, comparison, beside):
    with look_into(demo, comparison=comparison, beside=(beside,)) as opened:
        yield opened


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_every_table_of_every_page_is_there_as_csv_and_as_json(inside, demo):
    seen = set()
    wait_for_course(inside.get_json)
    for path in list_pages(demo):
        address = find_address(path)
        stem = "/index" if path == "/" else path
        html = inside.get(path).text
        document = inside.get(f"{stem}.json").json()
        links = [look["href"] for tag, look in Page(html).elements if tag == "a"]
        tables = html.count("<table")
        offered = [link for link in links if ".csv?" in link]
        assert len(offered) == tables, (path, "a link for each table")
        for link in offered:
            answer = inside.client.get(link)
            assert answer.headers["content-type"] == "text/csv; charset=utf-8"
            assert answer.headers["content-disposition"].startswith("attachment; filename=")
            name = re.search(r"table=([\w-]+)", link).group(1)
            rows = pick_rows(document, PAGES[address].tables[name])
            again = inside.client.get(link.replace(".csv?", ".json?"))
            assert again.json() == rows
            assert answer.text == write_csv(rows)
            assert len(read_csv(answer.text)) == len(rows)
            seen.add((address, name))
        assert f"{stem}.csv?table=" in html or not tables
    left = {(a, name) for a, page in PAGES.items() for name in page.tables} - seen
    # the demo has ended, has no gauntlet's table, no evaluation, no proposals and no rounds, and a
    # rollout waits for its model
    assert {address for address, _ in left} <= {
        "/",
        "/gauntlet",
        "/evaluations",
        "/proposals",
        "/rounds",
        *(a for a in PAGES if "roll" in a),
    }


def test_the_first_table_comes_where_none_is_named_and_an_unknown_one_is_told(inside):
    assert (
        inside.client.get("/windows.csv").text
        == inside.client.get("/windows.csv?table=windows").text
    )
    for path, known in (("/windows", "windows"), ("/weights", "weights, settlements")):
        for ending in ("csv", "json"):
            answer = inside.client.get(f"{path}.{ending}?table=nothing")
            assert answer.status_code == 404
            assert f"no table 'nothing': {known}" in answer.text
    assert inside.client.get("/search.csv").status_code == 404
    refusal = inside.client.get("/window/999999.csv")
    assert refusal.headers["content-type"] == "text/plain; charset=utf-8"
    assert "are known" in refusal.text


def test_a_long_table_comes_in_parts_that_name_the_next(inside):
    whole = inside.client.get("/windows.json?table=windows").json()
    rows, address = [], "/windows.csv?table=windows&size=4"
    while address:
        answer = inside.client.get(address)
        rows += read_csv(answer.text)
        link = answer.headers.get("link")
        address = link and re.fullmatch(r'<(/[^>]*)>; rel="next"', link).group(1)
    assert [int(row["window"]) for row in rows] == [row["window"] for row in whole]
    paging = inside.client.get(f"/windows.json?size={10**9}").json()["paging"]
    assert paging["size"] == ROWS_MAX
    for nonsense in ("0", "-1", "x", "9" * 40, ""):
        size = inside.client.get("/windows.json", params={"size": nonsense}).json()["paging"][
            "size"
        ]
        assert size in (1, 50)


def test_search_and_sorting_are_kept(inside):
    html = inside.get("/miners?q=SAMPLING&sort=uid").text
    (link,) = [look["href"] for tag, look in Page(html).elements if ".csv?" in look.get("href", "")]
    rows = read_csv(inside.client.get(link).text)
    assert {row["reason"] for row in rows} == {"SAMPLING_MISMATCH"}
    assert [int(row["uid"]) for row in rows] == sorted(int(row["uid"]) for row in rows)
    for hostile in ("path=/evil", "table=x&path=y", "q=%22%3E%3Cscript%3E", "page=1&page=2"):
        assert inside.get(f"/miners?{hostile}").status_code in (200, 404)


def test_a_strangers_text_is_no_formula_and_numbers_stay_numbers():
    rows = [
        {"detail": '=HYPERLINK("https://evil.example")', "score": -3, "more": {"a": [1, "x"]}},
        {"detail": "+1", "share": 0.25, "sound": True, "nothing": None},
        {"detail": 'of "two"\nlines, and a comma', "score": 10**30},
    ]
    read = read_csv(write_csv(rows))
    assert [row["detail"] for row in read] == [
        '\'=HYPERLINK("https://evil.example")',
        "'+1",
        'of "two"\nlines, and a comma',
    ]
    assert list(read[0]) == ["detail", "score", "more.a", "share", "sound", "nothing"]
    assert (read[0]["score"], read[2]["score"]) == ("-3", str(10**30))
    assert json.loads(read[0]["more.a"]) == [1, "x"]
    assert (read[1]["share"], read[1]["sound"], read[1]["nothing"]) == ("0.25", "true", "")
    assert write_csv([]) == ""
