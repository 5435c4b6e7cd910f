"""The mirror that is asked first: none by everybody, and none that failed before the others."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from assay.artifacts.submissions.mirror_list import MirrorList, order_by_stake
from assay.artifacts.submissions.reader import CommittedSubmission, KnownMirror
from assay.lab.simulator import SimulatedChain
from assay.network.chain.errors import ChainError
from assay.network.store.base import StoreError
from assay.network.store.deadlines import _allowance
from assay.network.store.folder import open_folder
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.context import context_from_json
from assay.verification import plan_audit

VECTORS = Path(__file__).parents[2] / "vectors" / "context.json"
READERS = [sha256(b"reader %d" % i).digest() for i in range(30)]
ROOTS = [sha256(b"root %d" % i).digest() for i in range(30)]
HOTKEYS = [sha256(b"validator %d" % i).digest() for i in range(8)]


def count_first(stakes):
    first = [order_by_stake(root, reader, stakes)[0] for root in ROOTS for reader in READERS]
    return [first.count(hotkey) for hotkey in stakes]


def test_one_mirror_is_not_hit_first_by_everybody():
    """By equal stake each is first in its turn, for one reader over files and for one file over
    readers; by unequal stake in its share."""
    equal = dict.fromkeys(HOTKEYS[:3], 10**12)
    assert all(250 < count < 350 for count in count_first(equal))
    heavy = dict(zip(HOTKEYS[:3], (8 * 10**12, 10**12, 10**12), strict=True))
    assert 680 < count_first(heavy)[0] < 760
    # stake that is spread over many mirrors is asked no more often
    spread = dict(zip(HOTKEYS[:5], (4 * 10**12, *[10**12] * 4), strict=True))
    assert 400 < count_first(spread)[0] < 500


def test_the_order_follows_from_root_and_reader_alone():
    stakes = dict(zip(HOTKEYS, range(8), strict=True))  # no stake at all is no division by zero
    found = order_by_stake(ROOTS[0], READERS[0], stakes)
    assert sorted(found) == sorted(HOTKEYS)
    backwards = dict(reversed(stakes.items()))
    assert order_by_stake(ROOTS[0], READERS[0], backwards) == found
    assert order_by_stake(ROOTS[0], READERS[0], dict.fromkeys(HOTKEYS, 0)) != found


class Fails:
    def get(self, name, limit):
        raise StoreError("the wire is cut")


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A chain whose eight validators announce a record each, and a list of their mirrors."""
    chain = SimulatedChain(b"net", 25, 1_700_000_000_000, 1_000, 24, (*HOTKEYS, READERS[0]))
    for number, hotkey in enumerate(HOTKEYS):
        payload = Commitment(Tag.RECORD, 7, 0, bytes(32), f"test:{number}")
        chain.set_commitment(hotkey, encode_commitment(payload))
    chain.mint()
    metagraph = [replace(row, permit=True, stake=10**12) for row in chain.get_metagraph(1)]
    monkeypatch.setattr(chain, "get_metagraph", lambda number: metagraph)
    stores = {f"test:{number}": open_folder(tmp_path / str(number)) for number in range(8)}
    now = [0.0]
    own = [open_folder(tmp_path / "own")]
    mirrors = MirrorList(chain, stores.get, own, READERS[0], lambda: now[0])
    return chain, mirrors, now


def test_a_failed_mirror_is_asked_last_for_a_while(net):
    mirrors, now = net[1], net[2]
    before = mirrors(ROOTS[0])
    assert len(before) == 7  # one's own and six others
    before[0].blame()
    before[1].store = Fails()
    with pytest.raises(StoreError):
        before[1].get("x", 1)
    assert before[2].get("nothing", 1) is None  # having nothing is no fault
    # two that were not asked before come into their place
    for _ in range(6):
        assert not {before[0], before[1]} & {*mirrors(ROOTS[0])}
    now[0] = 601.0
    asked = [mirrors(ROOTS[0]) for _ in range(6)]
    assert {before[0], before[1]} <= {mirror for some in asked for mirror in some}


def test_each_time_others_are_asked_until_all_were(net):
    _, mirrors, _ = net
    rounds = [mirrors(ROOTS[0]) for _ in range(8)]
    assert {some[0] for some in rounds} == {rounds[0][0]}  # one's own is always
    assert len({*rounds[0][1:], *rounds[1][1:]}) == 8  # all the others
    assert mirrors(ROOTS[1]) != rounds[0]


def test_failed_mirrors_are_remembered_between_looks_at_the_chain(net):
    chain, mirrors, _ = net
    before = mirrors(ROOTS[0])
    before[1].blame()
    for _ in range(40):
        chain.mint()
    assert before[1] not in mirrors(ROOTS[0])


def test_a_chain_that_is_away_leaves_the_mirrors_that_were_known(net, monkeypatch):
    chain, mirrors, _ = net
    before = mirrors(ROOTS[0])

    def fail(number):
        raise ChainError("the node is away")

    monkeypatch.setattr(chain, "get_commitments", fail)
    for _ in range(40):
        chain.mint()
    later = [mirrors(ROOTS[0]) for _ in range(3)]
    assert {*before} <= {mirror for some in later for mirror in some}


def test_a_chain_that_is_away_is_not_asked_for_each_submission(net, monkeypatch):
    chain, mirrors, now = net
    asked = []

    def fail():
        asked.append(now[0])
        raise ChainError("the node is away")

    with monkeypatch.context() as patch:
        patch.setattr(chain, "get_head", fail)
        for second in range(61):
            now[0] = float(second)
            assert len(mirrors(ROOTS[second % 30])) == 1  # one's own; nobody else is known yet
        assert asked == [0.0, 30.0, 60.0]
    now[0] = 90.0
    assert len(mirrors(ROOTS[0])) == 7


def test_all_mirrors_of_a_file_have_one_deadline():
    """However many are slow: each takes all that it is given."""
    given = []

    class Slow:
        def get(self, name, limit):
            left = _allowance.get()
            given.append(left.seconds)
            left.seconds = 0.0
            raise StoreError("it drips")

    def find_no_store(locator):
        raise StoreError("the miner's store is away")

    context = context_from_json(json.loads(VECTORS.read_text())["valid"])
    (hotkey,) = context.commitments
    mirrors = [KnownMirror(Slow()) for _ in range(9)]
    sources = SimpleNamespace(
        stores=SimpleNamespace(get=find_no_store), mirrors=lambda root: mirrors
    )
    reader = CommittedSubmission(context, hotkey, context.commitments[hotkey], sources)
    with pytest.raises(StoreError, match="the miner's store is away"):
        reader.offer(plan_audit(context, hotkey))
    assert len(given) == 9
    assert 20.0 >= given[0] > given[-1]
    assert sum(given) <= 60.0
