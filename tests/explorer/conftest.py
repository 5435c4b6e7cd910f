"""A record to look at: that of the demo that all tests share, and copies of it."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from assay.audit.provenance.round_audit import ChildAudit, RoundAudit, StepAudit
from assay.audit.provenance.round_watch import FINDINGS
from assay.explorer.sources import groups
from assay.protocol.ss58 import encode_ss58
from tests.commands import PRELOADED
from tests.explorer.compared import FILE as COMPARISON
from tests.explorer.inside import look_into, wait_for_figures
from tests.explorer.program import serve

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="module", autouse=True)
def _warm_helpers():
    """Explorers within this process fork their helpers, instead of loading torch for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "Sandbox", partial(groups.Sandbox, preloaded=PRELOADED))
        yield


@pytest.fixture(scope="session")
def demo(played):
    """The folder of a demo; read only."""
    return played[0]


@pytest.fixture
def copy(demo, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(demo, tmp_path / "run"))


@pytest.fixture(scope="session")
def rounds(tmp_path_factory):
    """A folder with the findings of two rounds, as `assay audit round` leaves it."""
    folder = tmp_path_factory.mktemp("rounds")
    one, two = (encode_ss58(bytes([n]) * 32) for n in (1, 2))
    children = (
        ChildAudit(one, "taken", "taken", ""),
        ChildAudit(two, "strange", "strange", "group 3 of window 6 is another trainer's"),
    )
    steps = (
        StepAudit(one, 6, True, "bit by bit the same"),
        StepAudit(two, 5, False, "tensor 0 is another"),
        StepAudit(one, 4, None, "not repeated: another kind of machine"),
    )
    found = (
        RoundAudit(4, "1c" * 32, "its children differs from the round's result", children[:1], ()),
        RoundAudit(8, "2c" * 32, None, children, steps),
    )
    lines = "".join(f"{json.dumps(round.to_json())}\n" for round in found)
    (folder / FINDINGS).write_text(lines)
    return folder


@pytest.fixture(scope="session")
def comparison():
    """The output of `assay audit compare --json` for three validators that differ; read only."""
    return COMPARISON


@pytest.fixture(scope="session")
def beside(demo, tmp_path_factory):
    """Another run's `/api/v1/training`, as it is saved to draw it beside this one: the demo's, with
    lower values, and one checkpoint more that was tried."""
    with look_into(demo) as inside:
        document = wait_for_figures(inside, "/api/v1/training")
    for curve in document["curves"]:
        for point in curve["series"][0]["points"]:
            point |= {name: point[name] * 0.9 for name in ("y", "low", "high") if name in point}
        if curve["name"] == "held-out":
            point = {**curve["series"][0]["points"][-1]}
            curve["series"][0]["points"].append(point | {"x": point["x"] + 3})
    file = tmp_path_factory.mktemp("runs") / "seed-2.json"
    file.write_text(json.dumps(document))
    return file


@pytest.fixture(scope="session")
def served(demo, rounds, comparison, beside):
    """An explorer over the demo's record, with everything beside it."""
    around = ("--rounds", rounds, "--comparison", comparison, "--beside", beside)
    with serve(demo.parent, "--dir", demo.name, *around) as explorer:
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


@pytest.fixture
def page(chromium, served):
    """A page of the explorer; an error in its console fails the test."""
    context = chromium.new_context(base_url=served.address)
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    said = []
    opened.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda error: said.append(str(error)))
    yield opened
    context.close()
    assert said == []
