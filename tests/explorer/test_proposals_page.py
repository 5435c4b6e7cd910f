"""The page of what a network has proposed to itself: over a real network's steps, in a trainer's
folder and in a store, and with hostile proposals."""

import json
import shutil
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.discovery import publish_parameters
from assay.artifacts.steps.folder import StepFolder
from assay.artifacts.steps.store import publish_step
from assay.audit.provenance.proposals import read_pool_history
from assay.environments.pieces.propose import Kind
from assay.explorer.documents.proposals import FUNCTION_SHOWN, PoolSummary, ProposalRow
from assay.explorer.ports import ProposalsReading
from assay.explorer.sources import proposal_child, proposals
from assay.explorer.sources.run_view import TrainerOutput
from assay.network.store.folder import open_folder
from assay.neurons.validator.judged_window import Settlement
from assay.neurons.validator.make_records import Author, RecordHeads, make_records
from assay.protocol.amendment import ParameterHistory
from assay.protocol.encoding import encode
from assay.protocol.record import (
    CoveredWindow,
    make_latest_name,
    make_settlement_record_name,
    make_window_record_name,
)
from assay.protocol.ss58 import encode_ss58
from assay.subnet.presets import parse_environment
from tests.absent import has_sandbox
from tests.audit.provenance.proposing import (
    ALICE,
    BOB,
    SUM,
    SWAP,
    TRIPLE,
    make_network,
    propose,
    teach,
    write,
)
from tests.explorer.inside import Page, browse, look_into

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

pytestmark = pytest.mark.slow
VALIDATOR = encode_ss58(b"v" * 32)
#: A function whose text would be elements, were it not escaped.
MARKUP = ("return a[1:] + ['</pre><script>pwned=1</script>']", "['<img src=x>', 2]")


def write_record(place, parameters, checkpoints):
    """The record of a validator that abstained from the windows in which these were in force."""
    place.mkdir(parents=True)
    publish_parameters(open_folder(place), parameters)
    author = Author("assay", ParameterHistory(parameters), b"v" * 32)
    abstained = tuple(range(1, len(checkpoints) + 1))
    settlement = Settlement(100, (), abstained, {}, {})
    windows, settled = make_records(author, RecordHeads(), settlement, {})
    previous = windows[0].previous
    for number, checkpoint in enumerate(checkpoints):
        windows[number] = replace(windows[number], checkpoint=checkpoint, previous=previous)
        previous = windows[number].digest
    covered = tuple(CoveredWindow(w.window, w.digest, w.outcome) for w in windows)
    settled = replace(settled, windows=covered)
    files = {make_window_record_name(VALIDATOR, w.window): encode(w) for w in windows}
    latest = {"epoch": settled.epoch, "digest": settled.digest.hex()}
    files[make_settlement_record_name(VALIDATOR, settled.epoch)] = encode(settled)
    files[make_latest_name(VALIDATOR)] = json.dumps(latest).encode()
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Two steps of a network, in a trainer's folder, and its record."""
    network = make_network(tmp_path_factory.mktemp("pools"))
    genesis, folder = network.genesis, network.folder / "trainer"
    proposed = [
        propose(network, genesis, ALICE, 4, [write(SWAP), "nothing", write(TRIPLE)]),
        propose(network, genesis, BOB, 0, [write(TRIPLE), write(MARKUP), write(SUM)]),
    ]
    first, models = teach(network, folder, genesis, proposed)
    child = open_checkpoint(models, first.child, network.parameters)
    right, wrong = "", "#### no"
    asked = [
        propose(network, child, ALICE, 3, [right, wrong, right], None, TRIPLE[0]),
        propose(network, child, BOB, 1, [wrong, wrong, right], None, TRIPLE[0]),
        propose(network, child, ALICE, 6, [wrong, wrong, wrong], None, SUM[0]),
        propose(network, child, BOB, 2, ["no", "#### [5, 5]", "no"], Kind.INPUT, TRIPLE[0]),
    ]
    second, _ = teach(network, folder, child, asked)
    network.steps, network.trainer = [first, second], folder
    network.record = write_record(
        network.folder / "record", network.parameters, [genesis.digest, first.child, second.child]
    )
    return network


@contextmanager
def look(network, trainer=None, record=None):
    named = {} if trainer is None else {"trainer": trainer}
    place = str(record or network.record)
    with look_into(None, record=place, hotkey=VALIDATOR, **named) as inside:
        yield inside


def wait_for_all(inside, path="/proposals.json"):
    """The document once every step has been read."""
    ends = time.monotonic() + 400
    while time.monotonic() < ends:
        document = inside.get_json(path)
        lack = document["lack"]
        if not document["waiting"] and (lack is None or not lack["passing"]):
            return document
    raise AssertionError("the steps were not read in time")


@pytest.fixture(scope="module")
def inside(network):
    with look(network, network.trainer) as inside:
        wait_for_all(inside)
        yield inside


def test_the_page_says_what_the_command_says(network, inside):
    found, history = inside.get_json("/proposals.json"), read_pool_history(network.trainer, 8)
    assert (found["proposes"], found["checkpoint"], found["unread"]) == (True, 2, [])
    assert found["sentence"] == history.figures.to_json()["sentence"]
    assert found["pool"] == proposal_child._describe_pool(history.figures)  # noqa: SLF001
    rows = [{**proposal_child._describe_row(row), "name": None} for row in history.rows]  # noqa: SLF001
    assert found["rows"] == rows
    places = [(row["checkpoint"], row["author"], row["group"], row["rollout"]) for row in rows]
    alice, bob = encode_ss58(ALICE), encode_ss58(BOB)
    assert places == [(1, bob, 0, 2), (1, bob, 0, 1), (1, alice, 4, 2), (1, alice, 4, 0)]
    tried = [(row["tries"], row["solves"], row["solvers"]) for row in rows]
    assert tried == [(3, 0, []), (0, 0, []), (6, 3, [alice, bob]), (0, 0, [])]
    assert [row["solved"] for row in rows] == [0, None, 0.5, None]
    steps = [[s[n] for n in ("proposed", "valid", "added", "tries")] for s in found["steps"]]
    assert steps == [[3, 1, 0, 9], [6, 5, 4, 0]]
    curves = {curve["name"]: curve["series"][0]["points"] for curve in found["curves"]}
    assert curves["proposals"] == [{"x": 1, "y": 4}, {"x": 2, "y": 4}]
    assert curves["valid"] == [{"x": 1, "y": round(5 / 6, 6)}, {"x": 2, "y": round(1 / 3, 6)}]
    assert curves["solved"] == [{"x": 2, "y": round(3 / 9, 6)}]
    assert found["command"] == f"assay train proposals --dir {network.trainer}"


def test_pages_lead_to_each_other(inside):
    page = Page(inside.get("/training").text)
    links = {look.get("href") for tag, look in page.elements if tag == "a"}
    assert {"/proposals?checkpoint=1", "/proposals?checkpoint=2"} <= links
    of_first = inside.get_json("/proposals.json?checkpoint=1")
    assert (len(of_first["rows"]), of_first["paging"]["kept"]) == (4, {"checkpoint": 1})
    assert inside.get_json("/proposals.json?checkpoint=2")["rows"] == []
    page = Page(inside.get("/proposals").text)
    drawn = {json.loads(e["data-curve"])["name"] for tag, e in page.elements if tag == "figure"}
    assert drawn == {"proposals", "shapes", "valid", "solved"}
    links = {look.get("href") for tag, look in page.elements if tag == "a"}
    assert f"/window/3/{encode_ss58(BOB)}/0/1" in links
    anchors = {look.get("id") for _, look in page.elements}
    assert {"checkpoint-1", "checkpoint-2"} <= anchors
    parts = inside.get_json("/proposals.json?size=2&page=2")
    assert (len(parts["rows"]), parts["paging"]["pages"]) == (2, 2)
    table = inside.get("/proposals.csv?table=proposals&checkpoint=1").text
    assert len(table.strip().splitlines()) >= 5


def test_each_step_is_scored_once(network, monkeypatch):
    """Whatever is asked for: a request reads one step at most, and a later one adds what is new."""
    folder = network.folder / "growing"
    shutil.copytree(network.trainer, folder)
    second = folder / "steps" / network.steps[1].path.name
    hidden = second.rename(second.with_suffix(".later"))
    with look(network, folder) as inside:
        source = inside.source.sources.read_proposals.__self__
        orders, make_order = [], source._make_order  # noqa: SLF001

        def note(published):
            order = make_order(published)
            orders.append(sorted(order["found"]))
            return order

        monkeypatch.setattr(source, "_make_order", note)
        assert wait_for_all(inside)["checkpoint"] == 1
        for _ in range(3):
            inside.get_json("/proposals.json")
        assert orders == [[]]
        hidden.rename(second)
        ends = time.monotonic() + 400
        while inside.get_json("/proposals.json")["checkpoint"] == 1 and time.monotonic() < ends:
            time.sleep(0.05)
        found = wait_for_all(inside)
        assert [step["checkpoint"] for step in found["steps"]] == [2, 1]
        assert orders == [[], [network.steps[0].record.digest.hex()]]


def test_a_stranger_sees_what_was_published(network, tmp_path):
    """Of a record's store that also has steps and checkpoints, without anybody's folder."""
    place, trainer = tmp_path / "store", network.trainer
    shutil.copytree(network.record, place)
    store, models = open_folder(place), CheckpointFolder(trainer / "models")
    for step in network.steps:
        made = models.get(step.child).manifest
        assert publish_step(store, StepFolder(trainer / "steps"), made, with_state=False) == []
    for path in (trainer / "models").iterdir():
        publish_checkpoint(store, path, bytes.fromhex(path.name))
    with look(network, record=place) as inside:
        found = wait_for_all(inside)
        scratch = inside.source.sources.read_proposals.__self__._scratch  # noqa: SLF001
        assert list(scratch.iterdir()) == [], "checkpoints stay for no longer than a request"
    rows = read_pool_history(trainer, 8).rows
    assert [row["digest"] for row in found["rows"]] == [row.piece.digest.hex() for row in rows]
    assert [row["solves"] for row in found["rows"]] == [row.solves for row in rows]


def test_a_step_that_cannot_be_read_is_named(network, tmp_path, caplog):
    shutil.copytree(network.trainer, tmp_path / "trainer")
    (tmp_path / "trainer" / "steps" / network.steps[0].path.name).with_suffix(".parquet").unlink()
    with look(network, tmp_path / "trainer") as inside:
        found = wait_for_all(inside)
        text = inside.get("/proposals").text
    assert (found["unread"], [step["checkpoint"] for step in found["steps"]]) == ([1], [2])
    assert [row["checkpoint"] for row in found["rows"]] == [None] * 4
    assert [row["tries"] for row in found["rows"]] == [3, 0, 6, 0]
    assert "cannot be read" in text
    assert str(tmp_path) not in "".join(Page(text).text).replace(found["command"], "")
    assert ".parquet" in caplog.text  # for the operator: it names a folder


def test_a_step_that_takes_too_long_is_left_out(network, monkeypatch):
    step = network.steps[0]
    place = proposal_child.open_place(network.trainer)
    with (
        proposal_child.open_step_parser() as parser,
        pytest.raises(proposal_child.OperatorError, match="takes longer than 0 s"),
    ):
        proposal_child.read_step_findings(step, parser, place, 0.0)


def test_a_network_without_proposals_says_so(network, tmp_path):
    choice = parse_environment("mix,deduce=1,sat=1")
    other = replace(network.parameters, environment=choice)
    record = write_record(tmp_path / "record", other, [network.genesis.digest])
    with look(network, network.trainer, record) as inside:
        found, text = inside.get_json("/proposals.json"), inside.get("/proposals").text
        assert "/proposals?" not in inside.get("/training").text
    assert (found["proposes"], found["rows"], found["command"]) == (False, [], None)
    assert "has no part" in text
    assert "<code>propose</code>" in text


def test_where_there_is_no_step_the_page_says_what_to_name(network):
    with look(network, network.folder / "models") as inside:
        found, text = inside.get_json("/proposals.json"), inside.get("/proposals").text
    assert not found["lack"]["passing"]
    assert "neither a trainer's folder" in found["lack"]["why"]
    assert "--trainer" in text


EVIL = (
    "</bdi></pre><script>pwned=1</script><img src=x onerror=pwned=1>\"'><svg onload=pwned=1>"
    "{{7*7}}{% raw %}\x00\x1b[2J\u202egnp.exe\u2066\u200b\ufeff\u3164"
)


class HostileProposals:
    """What no sandbox would have to hold back."""

    def read(self, steps, wait_s):
        long = "x" * 4_000
        row = ProposalRow(
            digest="ab" * 32,
            function=EVIL,
            length=99,
            given=EVIL,
            output=EVIL,
            inputs=2,
            size=1,
            checkpoint=1,
            window=3,
            author=encode_ss58(ALICE),
            name=None,
            group=0,
            rollout=0,
            tries=4,
            solves=1,
            solved=0.25,
            solvers=[encode_ss58(BOB)] * 8,
            solver_count=3_000,
        )
        other = {**row, "function": f"def f(a):\n    return {long}", "given": long, "output": long}
        pool = PoolSummary(proposals=9_000, shapes=1, largest=9_000, size=1.0, inputs=1.0)
        return ProposalsReading(1, EVIL, pool, [row, other] * 2, [], 3, [7])

    def close(self):
        pass


@pytest.fixture
def hostile(network):
    with look(network) as inside:
        inside.source.sources.read_proposals = HostileProposals().read
        yield inside


def test_hostile_text_stays_text(hostile, inside):
    for one in (hostile, inside):
        text = one.get("/proposals").text
        assert not set("\x00\x1b\u202e\u2066\u200b\ufeff\u3164") & set(text)
        page = Page(text)
        assert "pwned=1" in "".join(page.text)
        for tag, attributes in page.elements:
            assert not any(name.startswith("on") or name == "style" for name in attributes)
            assert tag not in ("img", "iframe", "object", "embed", "base")
            assert tag != "script" or attributes.get("src", "").startswith("/static/")
            assert attributes.get("href", "/").startswith(("/", "#"))


def test_hostile_text_runs_nothing_in_a_browser(hostile, inside, chromium):
    """And the page fits a telephone, and all can read it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for one in (hostile, inside):
        with browse(one, chromium) as (page, said):
            page.emulate_media(reduced_motion="reduce")
            page.goto("/proposals", wait_until="load", timeout=60_000)
            assert page.evaluate("typeof pwned") == "undefined"
            assert page.evaluate("document.querySelectorAll('img, iframe').length") == 0
            for width in (320, 390, 1_400):
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("document.documentElement.scrollWidth") <= width
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                answer = axe.run(page, options={"resultTypes": ["violations"]}).response
                found = [
                    (rule["id"], [n["html"][:200] for n in rule["nodes"][:3]])
                    for rule in answer["violations"]
                ]
                assert found == [], scheme
        assert said == []


def test_a_document_has_a_bounded_size(network, monkeypatch):
    """A long function is cut, and so is the list."""
    monkeypatch.setattr(proposal_child, "PROPOSALS_SHOWN", 3)
    order = {
        "folder": str(network.trainer),
        "stores": [],
        "published": [],
        "scratch": str(network.folder),
        "progress": str(network.folder / "progress"),
        "most": proposals.STEPS,
        "found": {},
        "unread": [],
    }
    found = json.loads(proposal_child.answer(json.dumps(order).encode()))
    assert (len(found["reading"]["rows"]), len(found["found"])) == (3, 1)
    assert found["reading"]["waiting"] == 1
    row = read_pool_history(network.trainer, 1).rows[0]
    row.piece = replace(row.piece, function="x" * 4_000, inputs=("y" * 2_000,), outputs=("z",))
    row.solvers = [bytes([n]) * 32 for n in range(200)]
    shown = proposal_child._describe_row(row)  # noqa: SLF001
    assert (len(shown["function"]), shown["length"]) == (FUNCTION_SHOWN, 4_000)
    assert len(json.dumps(shown)) < 3_000
    assert shown["solver_count"] == 200
    assert TrainerOutput(network.trainer).get_newest_step() is not None
