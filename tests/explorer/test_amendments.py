"""Pages over a record across amendments: each window by the parameters that held for it, and what
is announced."""

import json
import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from assay.artifacts.announced_parameters import list_announced
from assay.artifacts.discovery import publish_parameters
from assay.explorer.ports import Live
from assay.explorer.sources import chain_view
from assay.explorer.sources.chain_view import ChainView
from assay.network.store.folder import open_folder
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.record import (
    decode_settlement_record,
    make_latest_name,
    make_settlement_record_name,
)
from assay.protocol.ss58 import encode_ss58
from assay.session.parameter_follower import ParameterFollower
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings
from tests.amended_parameters import amend
from tests.audit.amended import EPOCHS, FIRST, SECOND, announce, play_amended
from tests.audit.audited import HOTKEYS, LIAR, LOCATOR, WINDOWS
from tests.explorer.inside import Page, list_numbers, look_into


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    network = play_amended(tmp_path_factory.mktemp("amended"))
    shutil.copytree(network.folder / "store" / "parameters", network.folder / "records/parameters")
    return network


@contextmanager
def look(network, place=None):
    """The record alone, with the parameters beside it."""
    record = str(place or network.folder / "records")
    with look_into(None, record=record, hotkey=encode_ss58(LIAR)) as inside:
        yield inside


def get_json(inside, path):
    answer = inside.get(path, accept="application/json")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_each_window_is_shown_by_its_own_parameters(network):
    first, one, two = network.history.all
    with look(network) as inside:
        assert inside.source.subject.history.all == network.history.all
        for window in WINDOWS:
            right = first if window < FIRST else one if window < SECOND else two
            page = get_json(inside, f"/window/{window}")
            assert (page["window"]["beacons"], page["window"]["link"]) == ("verified", "ok")
            blocks = [moment["block"] for moment in page["timeline"]["moments"]]
            assert 12 * window + right.timing.audit_offset in blocks
            assert page["timeline"]["last"] == 12 * window + right.timing.verdict_end
            member = get_json(inside, f"/window/{window}/{encode_ss58(HOTKEYS['alice'])}")
            assert member["selection"]["valued_groups"] == right.work.valued_groups
            assert all(g["value"] is not None for g in member["audited"] if g["valued"])
        for epoch in EPOCHS:
            weights = get_json(inside, f"/settlement/{epoch}")["weights"]
            assert weights["derived"] is True
            assert weights["scores_derived"] is True
        shown = get_json(inside, "/")["network"]
        assert shown["parameters"] == two.digest.hex()
        assert shown["burn_share"] == two.identity.burn_share / 1_000_000 > 0
        page = inside.get("/", accept="text/html").text
        assert "of what miners would get goes to the owner’s uid" in page


def test_a_record_that_comes_to_an_amendment_is_followed(network, tmp_path):
    """Reading begins under the first parameters alone."""
    place = shutil.copytree(network.folder / "records", tmp_path / "records")
    address = encode_ss58(LIAR)
    latest = place / make_latest_name(address)
    whole = latest.read_text()
    digest = network.make_public().records.get(make_settlement_record_name(address, 48), 1 << 20)
    early = decode_settlement_record(digest).digest.hex()
    latest.write_text(json.dumps({"epoch": 48, "digest": early}))
    with look(network, place) as inside:
        subject = inside.source.subject
        assert subject.history.all == network.history.all[:1]
        latest.write_text(whole)
        inside.indexer.step()
        assert subject.history.all == network.history.all
        rows = get_json(inside, "/windows")["windows"]
        states = {row["window"]: row["beacons"] for row in rows if row["window"] in WINDOWS}
        assert states == dict.fromkeys(WINDOWS, "verified")


def test_a_record_without_the_parameters_before_is_told_so(network, tmp_path):
    place = shutil.copytree(network.folder / "records", tmp_path / "records")
    (place / "parameters" / f"{network.parameters.digest.hex()}.json").unlink()
    with pytest.raises(ConfigError, match="and all before them"), look(network, place):
        pass


class Chain:
    """A chain's answers, in addition to the record."""

    def __init__(self, history, pending, head):
        self._said = history, pending, head

    def read_live(self):
        return Live(self._said[2], True, "the chain")

    def list_announced(self, head):
        return list_announced(*self._said)

    def stand_beside(self, inside):
        sources = inside.source.sources
        sources.read_live, sources.list_announced = self.read_live, self.list_announced


def test_announced_parameters_are_shown_with_block_and_changes(network):
    never = announce(network.parameters)[45]
    with look(network) as inside:
        Chain(network.history, never, 50).stand_beside(inside)
        page, html = get_json(inside, "/"), inside.get("/").text
        two, three = page["announced"]
        assert (two["window"], two["block"], two["decided"]) == (5, 60, True)
        assert two["changes"] == [{"field": "timing.verdict_end", "before": "36", "after": "40"}]
        assert (three["window"], three["decided_at"], three["decided"]) == (8, 72, False)
        assert page["network"]["parameters"] == network.history.all[1].digest.hex()
        assert "Other parameters hold" in html
        assert "Other parameters are announced" in html
        assert "<code>work.prompt_share</code> 50000 → 1" in html
        assert not set(Page(html).values) - set(list_numbers(page))
        ends = {w["window"]: w["next_block"] for w in page["live"]["windows"]}
        assert ends[4] == 61  # its commitments, at an offset that has not changed
        Chain(network.history, None, 60).stand_beside(inside)
        assert get_json(inside, "/")["announced"] == []


def test_a_chain_that_is_read_is_followed(network, tmp_path, monkeypatch):
    """An amendment is decided while pages are open: the history that they go by grows."""
    store = open_folder(network.folder / "store")
    slots = {}

    class Now:
        """The network as its owner's slot is changed, at a later head."""

        netuid = network.chain.netuid
        head = 140

        def __getattr__(self, name):
            return getattr(network.chain, name)

        def get_head(self):
            return self.head

        def get_owner(self, number):
            return HOTKEYS["owner"]

        def get_commitments(self, number):
            latest = max((block for block in slots if block <= number), default=None)
            found = network.chain.get_commitments(min(number, 140))
            return found if latest is None else {**found, HOTKEYS["owner"]: slots[latest]}

        def stop_retrying(self):
            pass

    chain = Now()

    @contextmanager
    def open_session(settings):
        followed = ParameterFollower(chain, {LOCATOR: store}.__getitem__, tmp_path / "rules")
        yield SimpleNamespace(chain=chain, followed=followed)

    monkeypatch.setattr(chain_view, "open_session", open_session)
    view = ChainView(Settings())
    try:
        history, announced = view.find()
        assert history.all == network.history.all
        assert encode_ss58(LIAR) in announced
        later = amend(history.latest, 20)
        publish_parameters(store, later)
        slots[150] = encode_commitment(Commitment(Tag.PARAMETERS, 20, 0, later.digest, LOCATOR))
        chain.head = 160
        view.look()
        announced = view.list_announced(chain.head)
        assert [(one.window, one.is_decided) for one in announced] == [(20, False)]
        chain.head = 12 * 18
        view.look()
        assert history.latest == later
        announced = view.list_announced(chain.head)
        assert [(one.window, one.is_decided) for one in announced] == [(20, True)]
        chain.head = 12 * 20
        view.look()
        assert view.list_announced(chain.head) == []
    finally:
        view.close()
