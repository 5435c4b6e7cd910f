"""The menu: five places, in which a page stands as soon as it has data."""

import re
import time

import pytest

from assay.explorer.menu import PLACES
from assay.explorer.page_addresses import PAGES
from tests.explorer.inside import look_into

#: Pages on which this demo has no data, and what fills each.
UNFILLED = {
    "/rollouts": "--rollouts",
    "/proposals": "propose",
    "/evaluations": "--evaluations",
    "/rounds": "--rounds",
    "/validators": "--comparison",
    "/ledger": "--evm",
    "/gauntlet": "--gauntlet",
}


def list_links(html, label):
    """The links of a menu: text, address, and whether it says that its page is shown."""
    found = re.search(rf'<nav[^>]*aria-label="{label}">(.*?)</nav>', html, re.S)
    links = r'<a href="([^"]*)"( aria-current="\w+")?>([^<]*)</a>'
    return [] if found is None else [(n, a, c != "") for a, c, n in re.findall(links, found[1])]


def test_every_address_belongs_to_one_place():
    listed = [page for place in PLACES.values() for page in place]
    assert len(PLACES) == 5
    for path in PAGES:
        if path == "/search":
            continue
        held = [p for p in listed if path == p.path or (p.under and path.startswith(p.under))]
        assert len(held) == 1, path


def test_what_has_no_data_is_not_in_the_menu_and_says_on_its_page_what_would_fill_it(demo):
    with look_into(demo) as inside:
        pages = {path: inside.get(path).text for path in ("/", "/training", *UNFILLED)}
        window = inside.get_json("/windows.json")["windows"][0]["window"]
        deep = inside.get(f"/window/{window}").text
    places = [(name, PLACES[name][0].path) for name in PLACES]
    assert [(name, path) for name, path, _ in list_links(pages["/"], "Places")] == places
    assert list_links(pages["/"], "Pages of Overview") == []
    within = list_links(pages["/training"], "Pages of Training")
    assert within == [("Curves", "/training", True), ("Watch", "/watch", False)]
    for path, said in UNFILLED.items():
        assert said in pages[path], path
        assert [shown for _, _, shown in list_links(pages[path], "Places")].count(True) == 1
        (place,) = (name for name, _, shown in list_links(pages[path], "Places") if shown)
        here = list_links(pages[path], f"Pages of {place}")
        assert [(link, shown) for _, link, shown in here if shown] == [(path, True)]
    assert ("Windows", "/windows", True) in list_links(deep, "Places")
    assert list_links(deep, "Pages of Windows")[0] == ("Windows", "/windows", True)


def test_a_page_that_gets_data_appears_without_a_restart(copy):
    with look_into(copy) as inside:
        assert list_links(inside.get("/check").text, "Pages of Check") == []
        (copy / "gauntlet.json").write_text("{}")
        ends = time.monotonic() + 20
        while not (found := list_links(inside.get("/check").text, "Pages of Check")):
            assert time.monotonic() < ends
            time.sleep(0.2)
    assert [path for _, path, _ in found] == ["/check", "/gauntlet"]


@pytest.mark.slow
def test_the_search_box_is_in_the_line_and_opens_on_a_key(page):
    page.set_viewport_size({"width": 1_280, "height": 800})
    page.goto("/windows")
    tops = [
        page.locator(selector).first.bounding_box()
        for selector in (".brand", "#menu li:last-child a", ".find input")
    ]
    assert all(abs(box["y"] - tops[0]["y"]) < 12 for box in tops)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "q"
    page.keyboard.type("a/b")
    assert page.get_by_label("Search everything").input_value() == "a/b"
    page.set_viewport_size({"width": 390, "height": 800})
    links = [one.bounding_box()["y"] for one in page.locator("#menu a").all()]
    assert max(links) - min(links) < 2, "one line on a telephone, too"
