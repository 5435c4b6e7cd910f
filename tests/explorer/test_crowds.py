"""Many readers at once: each gets the shared pages whole, and nobody is mistaken for an
attacker."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from types import SimpleNamespace

import pytest

from assay.artifacts.store_objects import make_checkpoint_name
from assay.explorer.ports import ShownWeights
from assay.explorer.sources import chain_view, manifests
from assay.settings.sections import Settings

VALIDATOR = bytes(32)


class SlowChain:
    """One whose node takes a while for weights, and none for its head. After each epoch it shows
    the weight that the epoch's number is, of uid 1."""

    def get_head(self):
        return 100

    def is_epoch(self, number):
        return True

    def get_weights(self, number):
        time.sleep(0.2)
        return {VALIDATOR: {1: number - 1}}

    def get_commitments(self, number):
        return {}

    def get_alpha_price(self):
        return 10**9

    def get_metagraph(self, number):
        return []

    def stop_retrying(self):
        pass


@pytest.fixture
def hurry():
    """Threads that are changed as often as they can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def open_view(monkeypatch):
    """Opens views of the slow chain, which end with the test."""
    session = SimpleNamespace(chain=SlowChain())
    monkeypatch.setattr(chain_view, "open_session", lambda settings: nullcontext(session))
    with ExitStack() as stack:

        def open_one():
            view = chain_view.ChainView(Settings(), VALIDATOR)
            stack.callback(view.close)
            return view

        yield open_one


def test_many_visitors_are_no_trouble_of_the_chain(open_view, monkeypatch):
    monkeypatch.setattr(chain_view, "_EVERY_S", 0.05)
    monkeypatch.setattr(chain_view, "_WAIT_S", 1.0)
    view = open_view()
    with ThreadPoolExecutor(12) as visitors:
        asked = [visitors.submit(view.read_shown, epoch, {1: epoch}) for epoch in range(12)]
        view.start()
        ends = time.monotonic() + 60
        while view.read_live() is None or not all(one.done() for one in asked):
            assert view.get_trouble() is None
            assert time.monotonic() < ends
            time.sleep(0.01)
    shown = [one.result() for one in asked]
    assert any(shown), "nobody was answered"
    assert all(one is None or one.block == epoch + 1 for epoch, one in enumerate(shown))
    assert view.read_live().head == 100
    # an unanswered client is answered later, at once if the page is cached by then
    left = [epoch for epoch, one in enumerate(shown) if one is None]
    for epoch in left[:1]:
        while view.read_shown(epoch, {1: epoch}) != ShownWeights(epoch + 1, {1: epoch}):
            assert time.monotonic() < ends


def test_manifests_that_are_kept_go_while_others_read_them(monkeypatch, hurry):
    monkeypatch.setattr(manifests, "_CACHED", 1)
    found = {
        bytes([number]) * 32: json.dumps({"parent": "0" * 64, "step": "0" * 64, "number": number})
        for number in range(4)
    }
    names = {make_checkpoint_name(digest, "manifest.json"): data for digest, data in found.items()}
    store = SimpleNamespace(get=lambda name, limit: names[name].encode())
    opened = manifests.Manifests(None, [store])

    def look(number):
        return all(
            opened.read(bytes([n % 4]) * 32).number == n % 4 for n in range(number, number + 6_000)
        )

    with ThreadPoolExecutor(4) as visitors:
        assert all(visitors.map(look, range(4)))


def test_weights_that_are_kept_go_while_others_read_them(open_view, monkeypatch):
    monkeypatch.setattr(chain_view, "_CACHED", 1)
    view = open_view()

    class Wanted(dict):
        """While it is compared, somebody else looks at another settlement."""

        def __iter__(self):
            return iter(self.keys())

        def keys(self):
            view.read_shown(2, {1: 2})
            return super().keys()

    assert view.read_shown(1, {1: 1}).block == 2
    assert view.read_shown(1, Wanted({1: 1})).block == 2
