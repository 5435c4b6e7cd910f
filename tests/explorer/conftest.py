"""A record to look at: that of the demo that all tests share, and copies of it."""

import shutil
from pathlib import Path

import pytest

from tests.explorer.program import serve

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def demo(played):
    """The folder of a demo; read only."""
    return played[0]


@pytest.fixture
def copy(demo, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(demo, tmp_path / "run"))


@pytest.fixture(scope="session")
def served(demo):
    """An explorer over the demo's record."""
    with serve(demo.parent, "--dir", demo.name) as explorer:
        explorer.wait_until_read()
        yield explorer


@pytest.fixture(scope="module")
def chromium():
    """A real browser. No longer than a module's tests: as long, playwright holds the thread's event
    loop, and nobody else can run one."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not there: install Debian's chromium to run these")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()
