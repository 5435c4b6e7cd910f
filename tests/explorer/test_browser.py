"""The pages in a real browser: every width, both schemes, keys alone, no script, live."""

import json
import re
import subprocess
import tempfile
import time
from itertools import product

import pytest

from assay.explorer.page_addresses import PAGES
from assay.explorer.routes import STREAMS_PER_CLIENT
from assay.protocol.record import decode_settlement_record
from tests.commands import start_program
from tests.explorer.conftest import CHROMIUM
from tests.explorer.program import Served, list_looks, serve

pytestmark = pytest.mark.slow
WIDTHS = (320, 390, 768, 1_280, 1_400)
#: Of a telephone and of a laptop.
SMALL, LARGE = 390, 1_280


def test_every_address_of_a_page_is_looked_at(demo):
    """By enumeration: a new page cannot be forgotten."""
    looks = [path.partition("?")[0] for path in list_looks(demo)]
    for address in [*PAGES, "/api"]:
        pattern = re.sub(r"\{\w+\}", "[^/]+", address)
        assert any(re.fullmatch(pattern, path) for path in looks), (
            f"add an address of {address} to list_looks in tests/explorer/program.py"
        )


def test_no_page_is_wider_than_its_window(page, demo):
    for path in list_looks(demo):
        page.goto(path)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 800})
                found = page.evaluate("document.documentElement.scrollWidth")
                assert found <= width, (path, width, scheme)


def test_a_long_locator_and_a_command_in_a_sentence_fit_a_telephone(page, demo):
    """Neither a page's width nor an option gives way: `--netuid` is not cut at its hyphens."""
    page.set_viewport_size({"width": 400, "height": 800})
    member = next(path for path in list_looks(demo) if re.fullmatch(r"/window/\d+/5\w+", path))
    page.goto(member)
    page.evaluate(
        "document.querySelector('.locator code').textContent = 'file:///' + 'folder/'.repeat(40)"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.goto("/ledger")
    words = page.evaluate(
        "[...document.querySelectorAll('section p code > span, dd code > span')]"
        ".map(one => [one.textContent, one.offsetHeight])"
    )
    assert "--contract" in dict(words)
    assert max(height for _, height in words) < 30, "each is on one line"


def test_no_page_breaks_a_rule_of_accessibility(page, demo):
    """By axe, all its rules of WCAG 2.2 A and AA, and its best practices, at the width of a
    telephone and of a laptop; in the dark those again that look at colours."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    told = {"resultTypes": ["violations"]}  # axe works out no more of what is well
    page.emulate_media(reduced_motion="reduce")  # no colour on its way from one scheme to the other
    for path in list_looks(demo):
        page.goto(path)
        for width, scheme in product((SMALL, LARGE), ("light", "dark")):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
            found = axe.run(page, options=told | rules).response["violations"]
            seen = [(rule["id"], [n["html"][:200] for n in rule["nodes"][:3]]) for rule in found]
            assert seen == [], (path, width, scheme)


def test_keys_alone_reach_everything(page):
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        found = page.evaluate(
            "(e => [e.tagName, e.getAttribute('href') || e.getAttribute('aria-label') || '', "
            "getComputedStyle(e).outlineStyle])(document.activeElement)"
        )
        if found[0] == "BODY":
            break
        assert found[2] != "none", found
        reached.add(tuple(found[:2]))
    assert ("A", "/windows") in reached
    assert any(href.startswith("/miner/") for _, href in reached)
    assert ("PRE", "Command") in reached
    assert any(label.startswith("Weights") for _, label in reached), "tables scroll by keys"
    # and to a page and on, without a mouse
    page.goto("/windows")
    page.locator("tbody a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/window/*")
    assert page.locator("h1").inner_text().startswith("Window")


def test_everything_works_without_script(chromium, served, demo):
    context = chromium.new_context(base_url=served.address, java_script_enabled=False)
    page = context.new_page()
    page.goto("/miners")
    page.get_by_label("Hotkey, uid, name, role or verdict").fill("SKETCH")
    page.get_by_role("button", name="Show").click()
    assert page.locator("tbody tr").count() == 1
    page.locator("tbody a").first.click()
    assert page.locator("h1").inner_text().startswith("Miner")
    page.get_by_role("link", name="Overview").click()
    assert page.locator("#settled tbody tr").count() > 1
    context.close()


def test_the_search_box_leads_from_any_page_by_keys(page, demo):
    page.goto("/gauntlet")
    box = page.get_by_label("Search everything")
    box.fill("uid 3")
    box.press("Enter")
    page.wait_for_url("**/miner/*")
    page.get_by_label("Search everything").fill("nobody")
    page.get_by_role("button", name="Go").click()
    page.get_by_role("heading", name="Nothing found").wait_for()
    assert page.get_by_label("Search everything").input_value() == "nobody"


def test_numbers_are_told_by_more_than_colour(page, demo):
    page.goto("/miners")
    strips = page.locator(".strip[role=img]")
    for n in range(strips.count()):
        assert "×" in strips.nth(n).get_attribute("aria-label")
    signs = set(page.locator(".strip[role=img] b").all_inner_texts())
    assert {"✓", "✗"} <= signs


def test_the_command_is_copied(page):
    context = page.context
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/")
    page.get_by_role("button", name="Copy", exact=True).click()
    page.get_by_role("button", name="Copied").wait_for()
    command = page.locator(".command code").inner_text()
    assert page.evaluate("navigator.clipboard.readText()") == command


def test_a_digest_is_copied_whole_also_after_the_page_was_renewed(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/")
    buttons = page.locator("#settled button.copy")
    count = buttons.count()
    assert count == page.locator("#settled a.hotkey").count() > 1
    page.evaluate("document.querySelector('#settled caption').textContent = 'of yesterday'")
    page.evaluate("changed()")
    page.locator("#settled caption", has_text="Weights of").wait_for()
    assert buttons.count() == count
    buttons.first.focus()
    page.keyboard.press("Enter")
    page.locator("#settled button.copy[aria-label=Copied]").wait_for()
    whole = page.locator("#settled a.hotkey").first.get_attribute("title")
    assert page.evaluate("navigator.clipboard.readText()") == whole


def test_motion_is_left_out_where_it_is_not_wanted(page):
    page.emulate_media(reduced_motion="reduce")
    page.goto("/")
    look = "getComputedStyle(document.querySelector('.top nav a')).transitionDuration"
    assert page.evaluate(look) == "0s"


def test_pages_follow_a_record_that_grows_and_a_validator_that_is_restarted(chromium, copy):
    (record,) = (copy / "record").iterdir()
    settled = sorted(
        (decode_settlement_record(f.read_bytes()) for f in record.glob("settlement-*.record")),
        key=lambda found: found.epoch,
    )

    def announce(found):
        latest = {"epoch": found.epoch, "digest": found.digest.hex()}
        (record / "latest.json.new").write_text(json.dumps(latest))
        (record / "latest.json.new").rename(record / "latest.json")

    def tell(head, trouble):
        status = {
            "program": "validator",
            "state": "running",
            "head": head,
            "windows": [],
            "posts": [],
            "trouble": trouble,
            "trouble_kind": trouble and "chain",
            "at": int(time.time()),
        }
        (copy / "status.new").write_text(json.dumps(status))
        (copy / "status.new").rename(copy / "status.json")

    announce(settled[-2])
    tell(150, None)
    with serve(copy.parent, "--dir", copy.name) as explorer:
        context = chromium.new_context(base_url=explorer.address)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto("/")
        page.locator("#live-state:text-is('live')").wait_for()
        page.locator("#settled", has_text=f"{settled[-2].epoch:,}").wait_for()
        page.evaluate("window.untouched = true")
        tell(151, None)
        page.locator("#now dd.big", has_text="151").first.wait_for()
        # the validator ends: its last status goes stale, the page continues
        (copy / "status.json").unlink()
        page.locator("#now", has_text="unknown: this explorer").wait_for()
        # it comes back, waits for something, and settles once more
        tell(160, "the chain does not answer")
        page.locator("#now", has_text="Trouble with the chain").wait_for()
        announce(settled[-1])
        page.locator("#settled", has_text=f"{settled[-1].epoch:,}").wait_for()
        assert page.evaluate("window.untouched") is True, "the page was never loaded anew"
        context.close()


def test_pages_find_an_explorer_that_was_restarted(chromium, copy):
    with tempfile.TemporaryDirectory(prefix="assay-") as index:

        def start(port):
            process = start_program(
                *("explorer", "--dir", copy, "--port", port, "--index", index),
                *("--rate", "10000", "--json"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            line = process.stdout.readline()
            assert line, process.stderr.read()
            return Served(process, json.loads(line)["address"])

        first = start(0)
        context = chromium.new_context(base_url=first.address)
        page = context.new_page()
        page.set_default_timeout(90_000)
        try:
            page.goto("/")
            page.locator("#live-state:text-is('live')").wait_for()
            first.process.terminate()
            assert first.process.wait(60) == 0
            page.locator("#live-state", has_text="does not answer").wait_for()
            second = start(first.port)
            try:
                page.locator("#live-state:text-is('live')").wait_for()
                assert page.locator("#settled tbody tr").count() > 1
            finally:
                second.process.terminate()
                second.process.wait(60)
        finally:
            first.process.kill()
            first.process.wait(60)
            context.close()


def test_pages_beyond_the_streams_of_a_client_say_so(chromium, served):
    """Each in a window of its own; those that nobody sees hold no stream."""
    contexts = [
        chromium.new_context(base_url=served.address) for _ in range(STREAMS_PER_CLIENT + 1)
    ]
    try:
        pages = [context.new_page() for context in contexts]
        for page in pages:
            page.set_default_timeout(60_000)
            page.goto("/gauntlet")
        for page in pages[:-1]:
            wait_for_state(page, "live")
        wait_for_state(pages[-1], "not live: too many pages are open")
        hide(pages[0], True)
        wait_for_state(pages[-1], "live")
        hide(pages[1], True)
        hide(pages[0], False)
        wait_for_state(pages[0], "live")
    finally:
        for context in contexts:
            context.close()


def wait_for_state(page, said):
    page.locator(f"#live-state:text-is('{said}')").wait_for()


def hide(page, hidden):
    """Act as if the page's tab were hidden: without a screen no tab ever is."""
    page.evaluate(
        "value => { Object.defineProperty(document, 'hidden', { value, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_a_page_that_the_browser_kept_is_live_again(chromium, served):
    """Back to a page that was left: a browser shows it as it was, with no stream of its own."""
    keeping = chromium.browser_type.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        ignore_default_args=["--disable-back-forward-cache"],
    )
    try:
        page = keeping.new_page(base_url=served.address)
        page.set_default_timeout(60_000)
        page.goto("/")
        page.locator("#live-state:text-is('live')").wait_for()
        page.evaluate("window.kept = true")
        page.evaluate("document.getElementById('now').innerHTML = 'of yesterday'")
        page.goto("/miners")
        with page.expect_request("**/events"):
            page.go_back(wait_until="commit")
        assert page.evaluate("window.kept") is True, "the browser loaded it anew"
        page.locator("#now h2").wait_for()
        page.locator("#live-state:text-is('live')").wait_for()
    finally:
        keeping.close()
