"""The parts of a page that browsers and a proxy may keep, and for how long."""

import re

import pytest

from assay.explorer import Access
from tests.explorer.inside import look_into

PATHS = ("/", "/miners.json", "/weights.csv", "/api/v1/openapi.json")


@pytest.fixture(scope="module")
def public(demo):
    """An explorer behind a proxy."""
    with look_into(demo, access=Access(rate=1_000, is_public=True)) as inside:
        yield inside


def test_a_page_that_is_known_already_is_not_sent_again(public):
    for path in PATHS:
        whole = public.get(path)
        mark = whole.headers["etag"]
        for known in (mark, f'"other", W/{mark}'):  # a proxy that packs it makes the mark weak
            again = public.get(path, **{"if-none-match": known})
            assert (again.status_code, again.content) == (304, b""), path
            assert again.headers["etag"] == mark
            assert again.headers["cache-control"] == "public, max-age=5"
        assert public.get(path, **{"if-none-match": '"other"'}).content == whole.content
    assert public.get("/").headers["etag"] != public.get("/index.json").headers["etag"]


def test_own_files_are_kept_for_ever_under_an_address_with_their_digest(public):
    linked = re.findall(r'(?:href|src)="(/static/[^"]+)"', public.get("/").text)
    assert len(linked) >= 3
    for address in linked:
        assert "immutable" in public.get(address).headers["cache-control"], address
        for other in (address.partition("?")[0], address[:-1] + "x"):
            assert "immutable" not in public.get(other).headers["cache-control"], other


def test_refused_and_missing_pages_are_cached_by_nobody(demo):
    with look_into(demo, access=Access(rate=0.001, is_public=True)) as inside:
        missing, refused = inside.get("/window/999999"), inside.get("/")
    assert (missing.status_code, missing.headers["cache-control"]) == (404, "no-cache")
    assert (refused.status_code, refused.headers["cache-control"]) == (429, "no-cache")
    assert 0 < int(refused.headers["retry-after"]) <= 1_000


def test_a_browser_always_asks_without_a_named_proxy(demo):
    with look_into(demo) as inside:
        assert inside.get("/").headers["cache-control"] == "no-cache"
