"""The owner, the trainer and validators are labelled as such, and not shown as miners that earn
nothing."""

import pytest
from starlette.testclient import TestClient

from assay.explorer import make_app
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import Neurons, Uid
from assay.explorer.views.roles import find_roles
from assay.protocol.ss58 import decode_ss58, encode_ss58
from tests.explorer.inside import ADDRESS, UNLIMITED, Page, look_into

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inside(demo):
    with look_into(demo) as opened:
        yield opened


@pytest.fixture(scope="module")
def roles(inside):
    """Role → hotkey, by the parameters and the record alone."""
    identity = inside.source.subject.identity
    (owner,) = inside.index.read("SELECT address FROM miners WHERE uid = ?", (identity.owner_uid,))
    return {
        "owner": owner["address"],
        "trainer": encode_ss58(identity.trainer),
        "validator": encode_ss58(inside.source.subject.validator),
    }


def test_the_list_of_miners_labels_them_and_has_them_last(inside, roles):
    rows = inside.get_json("/miners")["miners"]
    labelled = {role: row["hotkey"] for row in rows for role in row["roles"]}
    assert labelled == roles
    assert [bool(row["roles"]) for row in rows] == [False] * (len(rows) - 3) + [True] * 3
    for sort in ("score", "accepted", "refused"):
        last = inside.get_json(f"/miners?sort={sort}")["miners"][-3:]
        assert all(row["roles"] for row in last), sort
    for role, hotkey in roles.items():
        (row,) = inside.get_json(f"/miners?q={role}")["miners"]
        assert row["hotkey"] == hotkey


def find_rows(page, roles):
    """Role → the text of its row in the page's tables."""
    rows = page.split("<tr")[1:]
    return {
        role: " ".join(Page("<tr" + next(r for r in rows if hotkey in r)).text)
        for role, hotkey in roles.items()
    }


@pytest.mark.parametrize("path", ["/miners", "/window/{window}"])
def test_a_row_of_theirs_has_no_share_and_no_verdict(inside, roles, path):
    window = inside.index.read("SELECT max(window) AS n FROM windows")[0]["n"]
    page = inside.get(path.format(window=window)).text
    for role, text in find_rows(page, roles).items():
        assert role in text
        assert "does not mine" in text
        assert "COMMITMENT" not in text
        assert "0.0" not in text


@pytest.mark.parametrize("path", ["/", "/weights", "/settlement/{epoch}"])
def test_settlements_label_them(inside, roles, path):
    epoch = inside.index.read("SELECT max(epoch) AS n FROM settlements")[0]["n"]
    path = path.format(epoch=epoch)
    table = inside.get_json("/index.json" if path == "/" else path)["weights"]
    seats = {row["hotkey"]: row["roles"] for row in table["rows"]}
    assert {hotkey: seats[hotkey] for hotkey in roles.values()} == {
        hotkey: [role] for role, hotkey in roles.items()
    }
    for role, text in find_rows(inside.get(path).text, roles).items():
        assert role in text
        assert "0.0 %" not in text


def test_their_own_pages_say_what_they_are(inside, roles):
    for role, hotkey in roles.items():
        page = inside.get(f"/miner/{hotkey}").text
        assert f"<h1>{role.capitalize()} {hotkey[:8]}" in page
        assert "It does not mine" in page
        assert "Is it paid?" not in page


def test_the_search_and_a_window_s_page_name_the_role(inside, roles):
    window = inside.index.read("SELECT max(window) AS n FROM windows")[0]["n"]
    for role, hotkey in roles.items():
        hits = inside.get_json(f"/search?q={hotkey[:6]}")["hits"]
        assert f"{role.capitalize()} {hotkey[:8]}" in " ".join(hit["name"] for hit in hits)
        page = inside.get(f"/window/{window}/{hotkey}").text
        assert f'<span class="role">{role}</span>' in page
        assert "does not mine" in page


def test_a_role_does_not_hide_what_is_mined(inside, roles):
    """A validator that mines, too, is a miner with a label."""
    with inside.index.write() as database:
        change = "UPDATE miners SET committed = committed + ? WHERE address = ?"
        database.execute(change, (1, roles["validator"]))
    try:
        page = inside.get(f"/miner/{roles['validator']}").text
        assert "<h1>Miner" in page
        assert "Is it paid?" in page
        assert '<span class="role">validator</span>' in page
    finally:
        with inside.index.write() as database:
            database.execute(change, (-1, roles["validator"]))


def test_a_chain_shows_further_validators(inside, roles, played):
    """Who announces a record is one; a permit alone is none of a miner, which has stake, too."""
    verdicts = played[1]["windows"][0]["verdicts"]
    miner, other = (decode_ss58(v["hotkey"]) for v in verdicts[:2])
    quiet, permitted, moved = (bytes([n]) * 32 for n in (1, 2, 3))
    owner = inside.source.subject.identity.owner_uid

    def hold(uid, hotkey, permit=False, records=False):
        return Uid(uid, hotkey, b"c" * 32, 1, 0, permit, 0, 0, records)

    neurons = Neurons(
        170,
        [
            hold(owner, moved),
            hold(11, miner, permit=True),
            hold(12, other, records=True),
            hold(13, permitted, permit=True),
            hold(14, quiet),
        ],
    )
    around = inside.answer_instead(read_neurons=neurons)
    app, _, indexer, _ = make_app(inside.source.subject, inside.index, around, access=UNLIMITED)
    client = TestClient(app, base_url=ADDRESS)
    rows = client.get("/miners.json").json()["miners"]
    found = {decode_ss58(row["hotkey"]): row["roles"] for row in rows}
    assert found[miner] == []
    assert found[other] == ["validator"]
    assert found[decode_ss58(roles["owner"])] == [], "its uid is another hotkey's now"
    known = find_roles(PageReader(inside.source.subject, inside.index, indexer, around))
    assert known[encode_ss58(moved)] == ["owner"]
    assert known[encode_ss58(permitted)] == ["validator"]
    assert encode_ss58(quiet) not in known
