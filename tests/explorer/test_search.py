"""The search box: any text leads to its object, and a failed search is reported."""

import json
import shutil

import pytest
from starlette.testclient import TestClient

from assay.explorer import make_app
from assay.explorer.ports import EntryEvent, LedgerReading, Neurons, Uid
from assay.protocol.record import decode_settlement_record
from assay.protocol.ss58 import decode_ss58, encode_ss58
from tests.explorer.inside import UNLIMITED, Page, look_into

pytestmark = pytest.mark.slow
_CONTRACT = "0x" + "ab" * 20


@pytest.fixture(scope="module")
def inside(demo):
    with look_into(demo) as opened:
        yield opened


@pytest.fixture(scope="module")
def facts(demo):
    summary = json.loads((demo / "summary.json").read_text())
    (folder,) = (demo / "record").iterdir()
    settlements = [
        decode_settlement_record(f.read_bytes()) for f in folder.glob("settlement-*.record")
    ]
    return summary, max(settlements, key=lambda one: one.epoch)


def search(client, text):
    """The page at which a browser arrives, and the answer."""
    answer = client.get(
        "/search", params={"q": text}, headers={"accept": "text/html"}, follow_redirects=False
    )
    return answer.headers.get("location"), answer


def find(client, text):
    return client.get("/search.json", params={"q": text}).json()


def test_a_hotkey_leads_to_its_miner_however_it_is_written(inside, facts):
    summary, _ = facts
    first = summary["windows"][0]["verdicts"][0]
    address = first["hotkey"]
    path = f"/miner/{address}"
    for text in (
        address,
        f"  {address} ",
        f"hotkey {address}",
        decode_ss58(address).hex(),
        "0x" + decode_ss58(address).hex(),
        f"{address[:6]}…{address[-4:]}",
        address[:12],
        first["name"],
        first["name"].upper(),
    ):
        assert search(inside.client, text)[0] == path, text


def test_numbers_lead_to_windows_blocks_settlements_and_uids(inside, facts):
    _, settlement = facts
    window = settlement.windows[-1].window
    length = inside.source.subject.history.first.timing.window_blocks
    block = window * length + length - 1
    assert search(inside.client, f"window {window}")[0] == f"/window/{window}"
    assert search(inside.client, f"Block {block:,}")[0] == f"/window/{window}"
    assert search(inside.client, str(block))[0] == f"/window/{window}"
    epoch = settlement.epoch
    assert search(inside.client, f"settlement {epoch}")[0] == f"/settlement/{epoch}"
    rows = inside.index.read("SELECT uid, address FROM miners")
    for row in rows:
        assert search(inside.client, f"uid:{row['uid']}")[0] == f"/miner/{row['address']}"
    assert search(inside.client, "checkpoint 1")[0] == "/training#checkpoints"


def test_a_number_that_may_mean_several_things_lists_them(inside):
    shared = [r["uid"] for r in inside.index.read("SELECT uid FROM miners ORDER BY uid")]
    known = {r["window"] for r in inside.index.read("SELECT window FROM windows")}
    number = next(uid for uid in shared if uid in known)
    place, answer = search(inside.client, str(number))
    assert place is None
    assert answer.status_code == 200
    kinds = [hit["kind"] for hit in find(inside.client, str(number))["hits"]]
    assert kinds == ["window", "miner"]
    links = [look.get("href") for tag, look in Page(answer.text).elements if tag == "a"]
    assert f"/window/{number}" in links


def test_every_digest_that_a_page_shows_is_found(inside, facts):
    """Written as on the page, with 0x before it, or with its first sixteen digits."""
    summary, settlement = facts
    window = summary["windows"][1]["window"]
    shown = inside.get(f"/window/{window}.json").json()
    inputs = shown["inputs"]
    places = {
        inputs["digest"]: f"/window/{window}",
        inputs["challenge"]["block_hash"]: f"/window/{window}",
        inputs["audit"]["signature"]: f"/window/{window}",
        inputs["checkpoint"]: f"/training#{inputs['checkpoint'][:16]}",
        settlement.digest.hex(): f"/settlement/{settlement.epoch}",
        settlement.score_root.hex(): f"/settlement/{settlement.epoch}",
        settlement.weights_digest.hex(): f"/settlement/{settlement.epoch}",
        settlement.parameters.hex(): "/#network-h",
    }
    for member in shown["members"]:
        if member["groups"]:
            path = f"/window/{window}/{member['hotkey']}"
            root = inside.get(path + ".json").json()["commitment"]["root"]
            places[root] = path
    assert len(places) > 10
    for digest, path in places.items():
        for text in (digest, "0x" + digest.upper().lower(), digest[:16], f"{digest[:8]}…"):
            assert search(inside.client, text)[0] == path, (text, path)
        last = "1" if digest[-1] == "0" else "0"
        wrong = digest[:-1] + last
        assert find(inside.client, wrong)["hits"] == [], "all digits count, also the last"


def test_coldkeys_contracts_and_transactions_are_found_where_a_chain_is_read(inside, facts):
    summary, settlement = facts
    keys = [decode_ss58(v["hotkey"]) for v in summary["windows"][0]["verdicts"][:2]]
    coldkey, alone = encode_ss58(b"c" * 32), encode_ss58(b"n" * 32)
    assert "start the explorer with a chain" in find(inside.client, coldkey)["missing"][0]
    transaction = "5a" * 32
    event = EntryEvent(settlement.epoch, 190, transaction, {})
    posted = {settlement.epoch: event}
    rows = [Uid(n, key, b"c" * 32, 1, 0, False, 0, 0) for n, key in enumerate(keys)]
    ledger = LedgerReading("evm.example", 200, 0, 12, None, None, posted)
    around = inside.answer_instead(read_neurons=Neurons(140, rows), read_ledger=ledger)
    around.contract = _CONTRACT
    app, *_ = make_app(inside.source.subject, inside.index, around, access=UNLIMITED)
    client = TestClient(app, base_url="http://127.0.0.1:8400")
    hits = find(client, coldkey)["hits"]
    assert [hit["path"] for hit in hits] == [f"/miner/{encode_ss58(key)}" for key in keys]
    assert "has this address" in find(client, alone)["missing"][0]
    assert search(client, _CONTRACT)[0] == "/ledger"
    entry = f"/ledger#entry-{settlement.epoch}"
    for text in (transaction, "0x" + transaction, f"tx 0x{transaction}", "0x" + transaction[:12]):
        assert search(client, text)[0] == entry


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("window 9999", "no window 9,999 in this record: windows"),
        ("9999", "no member of any window had uid 9,999"),
        ("block 99999", "block 99,999 has not been made yet"),
        ("block 1", "is of window 0, not in this record"),
        ("settlement 1", "no settlement at block 1"),
        ("99999999999999999999999", "of 4,611,686,018,427,387,904 or more"),
        ("deadbeefdeadbeef", "nothing has a digest that begins with deadbeefdeadbeef"),
        ("5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty", "any window in this record"),
        ("5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694tx", "a wrong checksum"),
        ("nobody of that name", "no hotkey or name here has"),
        ("'; DROP TABLE miners; --", "no hotkey or name here has"),
        ("[*]", "no hotkey or name here has"),
        ("checkpoint 77777", "no checkpoint № 77,777"),
    ],
)
def test_a_failed_search_is_reported(inside, text, said):
    place, answer = search(inside.client, text)
    assert place is None
    assert answer.status_code == 200
    assert said in " ".join(find(inside.client, text)["missing"])
    assert "Nothing found" in answer.text
    assert "You can search for" in answer.text


def test_every_page_has_the_box_and_an_empty_one_asks(inside, facts):
    for path in ("/", "/miners", "/nowhere", "/search"):
        forms = [look for tag, look in Page(inside.get(path).text).elements if tag == "form"]
        assert {"method": "get", "action": "/search"}.items() <= forms[0].items(), path
    assert "You can search for" in inside.get("/search").text
    assert inside.get("/search").status_code == 200


def test_the_first_page_tells_a_stranger_what_it_is(inside):
    text = inside.get("/").text
    intro = text[text.index('class="intro"') : text.index("</p>", text.index('class="intro"'))]
    assert intro.count(". ") == 2, "three sentences"


def test_a_step_is_found_by_its_checkpoints_manifest_where_no_trainer_is_at_hand(copy):
    shutil.rmtree(copy / "steps")
    with look_into(copy) as inside:
        rows = inside.get("/training.json").json()["checkpoints"]
        row = next(row for row in rows if row["step"])
        assert row["groups"] is None, "nobody knows the trainer's step itself"
        assert search(inside.client, row["step"])[0] == f"/training#{row['digest'][:16]}"
