"""A miner's page earns its name: rank, share, pay a day and in all, speed, what comes next."""

import pytest
from starlette.testclient import TestClient

from assay.explorer import make_app
from assay.explorer.ports import Live, Neurons, Uid
from assay.protocol.ss58 import decode_ss58
from assay.protocol.window import Phase, compute_block
from tests.explorer.inside import ADDRESS, UNLIMITED, look_into

pytestmark = pytest.mark.slow
ALPHA = 10**9


@pytest.fixture
def inside(demo):
    with look_into(demo) as opened:
        yield opened


@pytest.fixture(scope="module")
def keys(played):
    """Name → hotkey of the demo's miners."""
    return {v["name"]: v["hotkey"] for v in played[1]["windows"][0]["verdicts"]}


def look(inside, hotkey, **answers):
    around = inside.answer_instead(**answers)
    app, *_ = make_app(inside.source.subject, inside.index, around, access=UNLIMITED)
    client = TestClient(app, base_url=ADDRESS)
    answer = client.get(f"/miner/{hotkey}.json")
    assert answer.status_code == 200
    return answer.json(), client.get(f"/miner/{hotkey}", headers={"accept": "text/html"}).text


def test_rank_and_share_are_the_newest_settlement_s(inside, keys, played):
    newest = played[1]["settlements"][-1]
    weights = {name: weight for name, weight in newest["weights"].items() if weight}
    total = sum(newest["scores"].values())
    order = sorted(weights, key=weights.__getitem__, reverse=True)
    for name, hotkey in keys.items():
        found = inside.get_json(f"/miner/{hotkey}")["earnings"]
        assert found["ranked"] == len(weights)
        assert found["of"] == sum(any(s["weights"].values()) for s in played[1]["settlements"])
        if name not in weights:
            assert (found["rank"], found["share"], found["settlements"]) == (None, None, 0)
            continue
        assert found["rank"] == 1 + order.index(name)
        assert found["share"] == round(newest["scores"][name] / total, 6)


def test_a_run_s_notes_tell_what_the_chain_paid_last(inside, keys, played):
    paid = [s for s in played[1]["settlements"] if s["paid_at"] is not None][-1]
    found = inside.get_json(f"/miner/{keys['honest-1']}")["earnings"]
    assert found["paid_at"] == paid["paid_at"]
    assert found["paid"] == round(paid["incentives"]["honest-1"] / 65_535, 6)
    curves = {c["name"]: c for c in inside.get_json(f"/miner/{keys['honest-1']}")["curves"]}
    assert [p["y"] for p in curves["paid"]["series"][0]["points"]] == [
        round(s["incentives"]["honest-1"] / 65_535, 6)
        for s in played[1]["settlements"]
        if s["paid_at"] is not None
    ]


def test_speeds_of_all_miners_are_the_network_s(inside, keys):
    """One name, one number: the first page's tokens a second are the sum of its miners'."""
    health = inside.get_json("/index.json")["screen"]["health"]
    speeds = {}
    for hotkey in keys.values():
        document = inside.get_json(f"/miner/{hotkey}")
        newest = {row["window"]: row["speed"] for row in document["rows"]}[health["window"]]
        if document["reason"] == "ACCEPTED":
            assert document["earnings"]["speed"] == newest > 0
            curve = next(c for c in document["curves"] if c["name"] == "speed")
            assert curve["series"][0]["points"][-1] == {"x": health["window"], "y": newest}
        else:
            assert newest is None
        speeds[hotkey] = newest or 0
    assert sum(speeds.values()) == pytest.approx(health["tokens_per_second"], abs=0.05)


def test_the_chain_s_pay_is_kept_and_counted_by_day_and_in_all(inside, keys):
    """Each epoch once, also those that the node has forgotten since; a record that is read again
    leaves them."""
    honest = keys["honest-1"]
    rows = inside.index.read("SELECT epoch FROM settlements ORDER BY weighed = 0, epoch")
    epochs = [row["epoch"] for row in rows]
    key, asked = decode_ss58(honest), []

    def read_pay(wanted):
        asked.append(list(wanted))
        return {e: [Uid(3, key, b"c" * 32, 1, 0, False, 9, n * ALPHA)] for n, e in known.items()}

    inside.source.sources.read_pay = read_pay
    known = {2: epochs[0]}
    inside.indexer.prepare()
    known = {4: epochs[1]}
    inside.indexer.prepare()
    known = {7: epochs[1]}  # told again: it was known
    inside.indexer.prepare()
    assert asked[0] == sorted(epochs, reverse=True), "the newest first: the node forgets"
    assert set(asked[1]) == set(epochs) - {epochs[0]}
    assert set(asked[2]) == set(epochs) - {*epochs[:2]}
    with inside.index.write() as database:  # as if it was rewritten: all of it is read again
        database.execute("UPDATE settlements SET digest = ?", (b"another",))
    inside.indexer.step()
    neurons = Neurons(170, [Uid(3, key, b"c" * 32, 1, 0, False, 9, 5 * ALPHA)], price=ALPHA // 2)
    document, page = look(inside, honest, read_neurons=neurons)
    found = document["earnings"]
    assert (found["alpha"], found["tao"], found["epochs"]) == (6, 3, 2)
    assert found["since"] == epochs[0]
    timing = inside.source.subject.history.latest.timing
    a_day = 86_400_000 / timing.slot_ms / timing.tempo
    assert found["alpha_day"] == pytest.approx(3 * a_day, rel=1e-4), "the mean of the two epochs"
    assert found["tao_day"] == pytest.approx(1.5 * a_day, rel=1e-4)
    alphas = {row["epoch"]: row["alpha"] for row in document["settlements"]}
    assert alphas == {epoch: {epochs[0]: 2, epochs[1]: 4}.get(epoch) for epoch in alphas}
    assert any(alphas.values())
    assert "Pay a day" in page
    assert "Pay in all" in page


def test_without_an_epoch_that_was_read_a_day_is_by_the_last_one(inside, keys):
    key = decode_ss58(keys["honest-1"])
    neurons = Neurons(170, [Uid(3, key, b"c" * 32, 1, 0, False, 9, 5 * ALPHA)])
    found = look(inside, keys["honest-1"], read_neurons=neurons)[0]["earnings"]
    timing = inside.source.subject.history.latest.timing
    assert found["alpha_day"] == pytest.approx(5 * 86_400_000 / timing.slot_ms / timing.tempo)
    assert (found["alpha"], found["tao"], found["tao_day"]) == (None, None, None)


def test_what_the_next_window_needs(inside, keys, played):
    """By the newest block, the parameters and the length of its own files."""
    honest = keys["honest-1"]
    assert inside.get_json(f"/miner/{honest}")["following"] is None, "the run has ended"
    assert "It begins at block" not in inside.get(f"/miner/{honest}").text
    parameters = inside.source.subject.history.latest
    timing, work = parameters.timing, parameters.work
    head = compute_block(timing, 20, Phase.CHALLENGE) + 3
    document, page = look(inside, honest, read_live=Live(head, True, "the chain"))
    found = document["following"]
    assert found["window"] == 21
    assert found["block"] == compute_block(timing, 21, Phase.CHALLENGE)
    assert found["begins_in"] == found["block"] - head
    assert found["commit_by"] == compute_block(timing, 21, Phase.COMMIT)
    assert found["seconds"] == timing.commit_offset * timing.slot_ms / 1_000
    assert found["checkpoint"] == played[1]["windows"][-1]["checkpoint"]
    assert (found["groups"], found["group_size"]) == (work.group_cap, work.group_size)
    rows = [row for row in document["rows"] if row["speed"]][:8]
    usual = sum(row["speed"] for row in rows) / sum(row["groups"] for row in rows)
    assert found["full_speed"] == pytest.approx(usual * work.group_cap, rel=1e-3)
    assert "It begins at block" in page
    assert ">21</data> needs</h2>" in page
    unknown = look(inside, honest, read_live=None)[0]["following"]
    assert unknown == {
        **found,
        **dict.fromkeys(("window", "block", "begins_in", "begins_in_seconds", "commit_by")),
    }


def test_an_honest_miner_s_headline_is_not_what_the_explorer_does_not_know(inside, keys):
    document, page = look(inside, keys["honest-1"], read_payment=None, read_neurons=None)
    assert document["pay"]["paid"] is None
    answer = page[page.index('class="answer"') :].partition("</p>")[0]
    assert 'class="verdict good"' in answer
    assert "does not know" not in answer
    steps = page[page.index('<ol class="steps">') :].partition("</ol>")[0].split("<li")
    (last,) = [n for n, step in enumerate(steps) if "does not know what the chain paid" in step]
    assert steps[last - 1].startswith(' class="note"'), "a small note"
