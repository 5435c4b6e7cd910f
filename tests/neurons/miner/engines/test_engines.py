"""A miner whose drafts come from servers: the same ids, whatever these do."""

# ruff: noqa: F811 - fixtures are arguments of their names

import time
from dataclasses import replace

import pytest
import torch

from assay.inference.generate import DraftCount, generate_groups
from assay.inference.time_limit import TimeLimit
from assay.neurons.miner.engines import MinerEngines, engine
from assay.neurons.miner.engines import drafter as engine_drafter
from assay.neurons.miner.engines.engine import EngineError, read_engine
from assay.verification.episodes import EpisodeRules
from tests.inference.conftest import (
    checkpoint,  # noqa: F401 - a fixture
    list_ids,
    make_group_requests,
    projection,  # noqa: F401 - a fixture
)
from tests.inference.workers.pooled import wait_until
from tests.neurons.miner.engines.engine_server import ORDERS, EngineServer, load_drafter
from tests.small_world import TURNS, make_play_requests

TEMPERATURE = 1_024


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Be patient: a busy machine takes seconds for work of one. A canary of a few rows tells a
    keyed draw, too, and the server drafts one row at a time."""
    monkeypatch.setattr(engine_drafter, "PATIENCE_S", 60.0)
    monkeypatch.setattr(engine_drafter, "CANARY_ROWS", 3)


@pytest.fixture(scope="module")
def requests(checkpoint):
    """Two groups of two rows: the server drafts one at a time."""
    few = make_group_requests(checkpoint)[:2]
    return [replace(request, seeds=request.seeds[:2]) for request in few]


@pytest.fixture(scope="module")
def expected(checkpoint, requests, projection):
    return list_ids(
        generate_groups(
            requests,
            checkpoint.get_drafter(TEMPERATURE),
            checkpoint.get_reference(TEMPERATURE),
            checkpoint.get_rules(TEMPERATURE),
            projection,
        )
    )


@pytest.fixture(scope="module")
def rough_drafter(checkpoint):
    """Wrong now and then, and oftener than an engine in another precision is."""
    model = checkpoint.load_trainable().requires_grad_(False)
    torch.manual_seed(0)
    with torch.no_grad():
        weight = model.lm_head.weight
        weight.add_(torch.randn_like(weight) * 0.5 * weight.std())
    return checkpoint.get_drafter(TEMPERATURE, model=model)


def generate(mining, checkpoint, requests, projection):
    count = DraftCount()
    groups = mining.generate(requests, checkpoint, TEMPERATURE, projection, count)
    return list_ids(groups), count


def open_all(*servers, **given):
    return MinerEngines([read_engine(server.url) for server in servers], **given)


def test_an_engine_drafts_each_turn_of_an_episode(checkpoint, projection, rough_drafter):
    """Behind the replies, with the noise of own tokens; what a turn ended with counts as kept."""
    rules = EpisodeRules(TURNS, 120, 64, checkpoint.manifest.max_tokens, frozenset({1}))
    asked = make_play_requests(checkpoint, 2, 2, rules)
    drafter = checkpoint.get_drafter(TEMPERATURE)
    reference, own = checkpoint.get_reference(TEMPERATURE), checkpoint.get_rules(TEMPERATURE)
    expected = list_ids(generate_groups(asked, drafter, reference, own, projection))
    for one in (drafter, rough_drafter):
        with EngineServer(one) as server:
            mining = open_all(server)
            found, count = generate(mining, checkpoint, asked, projection)
        assert found == expected
        (engine,) = mining.engines
        assert engine.drafted == count.drafted
        assert engine.drafted - engine.kept <= count.discarded
        assert bool(count.discarded) == (one is rough_drafter)


def test_an_engine_drafts_and_the_reference_corrects_it(
    checkpoint, requests, projection, expected, rough_drafter
):
    with EngineServer(rough_drafter) as server:
        mining = open_all(server)
        found, count = generate(mining, checkpoint, requests, projection)
        assert found == expected
        assert mining.trouble is None
        assert count.drafted > count.submitted
        assert server.asked > len(requests)
        asked = server.asked  # a canary is once a checkpoint
        generate(mining, checkpoint, requests[:1], projection)
        assert server.asked - asked < asked


def test_tokens_drawn_after_an_end_are_dropped(
    checkpoint, requests, projection, expected, rough_drafter
):
    drafter = checkpoint.get_drafter(TEMPERATURE)
    with EngineServer(drafter, "unending") as server:
        mining = open_all(server)
        assert generate(mining, checkpoint, requests, projection)[0] == expected
        assert mining.engines[0].state == "drafting"
    drafter.rules = checkpoint.get_rules(TEMPERATURE)


def test_a_server_that_takes_long_over_a_checkpoint_keeps_no_window(
    checkpoint, requests, projection, expected, rough_drafter, monkeypatch
):
    with EngineServer(rough_drafter, load=load_drafter) as server:
        server.pause_s = 60.0
        mining = open_all(server)
        with monkeypatch.context() as patch:
            patch.setattr(engine_drafter, "PATIENCE_S", 0.05)
            assert generate(mining, checkpoint, requests, projection)[0] == expected
        assert (mining.engines[0].state, mining.trouble) == ("starting", None)
        server.go_on.set()
        wait_until(lambda: server.orders[-1:] == ["/resume"])
        assert generate(mining, checkpoint, requests, projection)[0] == expected
        assert mining.engines[0].state == "drafting"


def test_a_server_whose_pause_is_not_answered_is_resumed(
    checkpoint, requests, projection, expected, rough_drafter, monkeypatch
):
    monkeypatch.setattr(engine, "_ORDER_S", 0.5)
    with EngineServer(rough_drafter, load=load_drafter) as server:
        server.pause_s = 60.0
        mining = open_all(server)
        assert generate(mining, checkpoint, requests, projection)[0] == expected
        wait_until(lambda: "/resume" in server.orders)
        server.go_on.set()
        assert "it cannot load the checkpoint: it does not answer in time" in mining.trouble.text


def test_a_server_without_the_processor_is_left_with_a_sentence(
    checkpoint, requests, projection, expected, rough_drafter
):
    with EngineServer(rough_drafter, "unkeyed") as server:
        mining = open_all(server)
        found, _ = generate(mining, checkpoint, requests, projection)
        assert found == expected
        assert server.asked == engine_drafter.CANARY_ROWS
        assert "it serves without assay-vllm, or another model" in mining.trouble.text
        assert mining.trouble.text.endswith("; this program drafts")


def test_a_server_that_was_left_drafts_nothing_before_it_was_tried_again(
    checkpoint, requests, projection, expected, rough_drafter, monkeypatch
):
    """Not even where it may be asked again in the middle of a step."""
    monkeypatch.setattr(engine_drafter, "RETRY_S", 0.0)
    with EngineServer(rough_drafter, "unkeyed") as server:
        mining = open_all(server)
        for step in (1, 2):
            assert generate(mining, checkpoint, requests, projection)[0] == expected
            assert server.asked == step * engine_drafter.CANARY_ROWS


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("failing", r"it answers 500: "),
        ("nonsense", "it answers ids that the model does not have"),
        ("endless", "its answer has more than"),
        ("silent", "it does not answer in time"),
    ],
)
def test_a_servers_errors_cost_no_row(
    checkpoint, requests, projection, expected, rough_drafter, monkeypatch, kind, said
):
    """It works while it is tried, and no longer; the other one has its rows."""
    if kind == "silent":  # patience for the other one, which answers as soon as it can
        monkeypatch.setattr(engine, "ANSWER_S", 15.0)
        monkeypatch.setattr(engine, "TOKEN_S", 0.0)
    with EngineServer(rough_drafter) as good, EngineServer(rough_drafter) as bad:
        mining = open_all(good, bad)
        generate(mining, checkpoint, requests[:1], projection)
        bad.kind = kind
        found, _ = generate(mining, checkpoint, requests[:2], projection)
        assert found == expected[:2]
        assert f"1 of 2 engines are left out, {bad.url}: {said}" in mining.trouble.text
        assert mining.trouble.text.endswith("; the others draft")


def test_an_engine_that_died_is_taken_up_again(
    checkpoint, requests, projection, expected, rough_drafter, monkeypatch
):
    monkeypatch.setattr(engine_drafter, "RETRY_S", 0.0)
    server = EngineServer(rough_drafter)
    mining = open_all(server, exact=True)
    generate(mining, checkpoint, requests[:1], projection)
    server.close()
    found, _ = generate(mining, checkpoint, requests, projection)
    assert found == expected
    assert "ConnectError" in mining.trouble.text
    with EngineServer(rough_drafter, port=server.port) as again:
        found, _ = generate(mining, checkpoint, requests, projection)
        assert (found, mining.trouble) == (expected, None)
        assert again.asked > 0


def test_a_moment_s_trouble_counts_once_however_many_rows_it_costs(
    checkpoint, requests, projection, expected, rough_drafter
):
    with EngineServer(rough_drafter) as server:
        mining = open_all(server)
        generate(mining, checkpoint, requests[:1], projection)
        server.kind = "failing"
        assert generate(mining, checkpoint, requests, projection)[0] == expected
        assert mining.engines[0].failures == 1


def test_a_server_that_was_away_for_years_is_asked_again_within_an_hour(
    checkpoint, requests, projection, expected
):
    mining = MinerEngines([read_engine("http://127.0.0.1:1")])
    mining.engines[0].failures = 10**6
    began = engine_drafter.time.monotonic()
    assert generate(mining, checkpoint, requests, projection)[0] == expected
    assert mining.engines[0].left_until >= began + engine_drafter.RETRY_MAX_S


def test_a_server_that_draws_otherwise_than_in_its_canary_has_it_again(
    checkpoint, requests, projection, expected, rough_drafter, monkeypatch
):
    """Such as a server that somebody restarted without the processor."""
    monkeypatch.setattr(engine_drafter, "DOUBT_TOKENS", 64)
    with EngineServer(rough_drafter) as server:
        mining = open_all(server)
        generate(mining, checkpoint, requests[:1], projection)
        assert mining.engines[0].state == "drafting"
        server.kind = "unkeyed"
        assert generate(mining, checkpoint, requests, projection)[0] == expected
        assert mining.engines[0].state == "new"
        assert generate(mining, checkpoint, requests, projection)[0] == expected
        assert "it serves without assay-vllm" in mining.trouble.text


def test_servers_take_up_a_checkpoint_all_at_once(
    checkpoint, requests, projection, expected, rough_drafter, monkeypatch
):
    monkeypatch.setattr(engine_drafter, "PATIENCE_S", 0.05)
    servers = [EngineServer(rough_drafter, load=load_drafter) for _ in range(3)]
    with servers[0], servers[1], servers[2]:
        for server in servers:
            server.pause_s = 60.0
        mining = open_all(*servers)
        assert generate(mining, checkpoint, requests[:1], projection)[0] == expected[:1]
        assert [engine.state for engine in mining.engines] == ["starting"] * 3
        assert not mining.is_settled
        for server in servers:
            server.go_on.set()
            wait_until(lambda server=server: server.orders[-1:] == ["/resume"])


def test_a_server_that_hangs_holds_a_step_no_longer_than_the_window_allows(
    checkpoint, requests, projection, expected, rough_drafter
):
    with EngineServer(rough_drafter) as server:
        mining = open_all(server)
        generate(mining, checkpoint, requests[:1], projection)
        server.kind = "silent"  # its own patience would be a minute and more
        groups = mining.generate(
            requests, checkpoint, TEMPERATURE, projection, DraftCount(), patience_s=0.2
        )
        assert list_ids(groups) == expected
        assert "it does not answer in time" in mining.trouble.text


def test_a_server_is_not_blamed_for_a_step_that_has_no_time(
    checkpoint, requests, projection, expected, rough_drafter
):
    """It is asked no longer than the step has, and drafts again in the next one."""
    with EngineServer(rough_drafter) as server:
        mining = open_all(server)
        generate(mining, checkpoint, requests[:1], projection)
        server.kind = "silent"
        limit = TimeLimit(time.monotonic() + 0.2, time.monotonic)
        given = checkpoint, TEMPERATURE, projection, DraftCount()
        assert mining.generate(requests, *given, limit=limit) == []
        assert limit.is_over
        assert (mining.trouble, mining.engines[0].state) == (None, "drafting")
        server.kind = "keyed"
        assert generate(mining, checkpoint, requests, projection)[0] == expected


@pytest.mark.parametrize("near", [0, 2**40])
def test_the_tolerance_between_two_passes_is_the_networks(
    checkpoint, requests, projection, expected, rough_drafter, near
):
    """However near: with a bound that holds for every token, a prefill decides each of them."""
    with EngineServer(rough_drafter) as server:
        mining, count = open_all(server), DraftCount()
        groups = mining.generate(
            requests[:1], checkpoint, TEMPERATURE, projection, count, near=near
        )
        assert list_ids(groups) == expected[:1]
        assert (count.settling > 0) is (near > 0)


@pytest.mark.parametrize(
    "text",
    [
        *("", "localhost:8000", "ftp://here", "http://", "http://a?b", "nonsense"),
        *("http://127.0.0.1:99999", "http://127.0.0.1:abc", "http://[abc", "http://a:0"),
    ],
)
def test_a_malformed_engine_is_named(text):
    with pytest.raises(EngineError, match="write http://host:port"):
        read_engine(text)


def test_an_engine_s_address_holds_no_secret():
    with pytest.raises(EngineError, match="takes no user and no password"):
        read_engine("http://me:secret@127.0.0.1:8000")


def test_an_engine_s_name():
    named = read_engine("http://10.0.0.1:8000/v1#my-model")
    assert (named.url, named.model) == ("http://10.0.0.1:8000", "my-model")
    assert read_engine("http://10.0.0.1:8000/").model == "assay"


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("http://localhost:8000", True),
        ("http://10.0.0.1:8000", False),
        ("http://localhost.example.com", False),
    ],
)
def test_only_servers_of_this_machine_read_its_folders(url, is_local):
    assert read_engine(url).is_local is is_local


def test_a_server_takes_up_each_checkpoint_before_it_is_tried(
    checkpoint, requests, projection, expected, rough_drafter
):
    """It began with weights that nobody uses any more, and drops its results with them."""
    with EngineServer(rough_drafter, load=load_drafter) as server:
        mining = open_all(server)
        found, count = generate(mining, checkpoint, requests, projection)
        assert (found, mining.trouble) == (expected, None)
        assert server.orders == list(ORDERS)
        assert count.drafted == count.submitted + count.discarded
        assert count.discarded == 0  # the very model of the reference drafts
        generate(mining, checkpoint, requests[:1], projection)
        assert server.orders == list(ORDERS)  # once a checkpoint


def test_a_server_that_cannot_load_is_left_and_goes_on_serving_others(
    checkpoint, requests, projection, expected, rough_drafter
):
    def load(folder):
        raise EngineError(f"no room for {folder}")

    with EngineServer(rough_drafter, load=load) as server:
        mining = open_all(server)
        found, _ = generate(mining, checkpoint, requests, projection)
        assert found == expected
        assert "it cannot load the checkpoint: it answers 500: " in mining.trouble.text
        assert mining.engines[0].state == "left"
        assert (server.orders[-1], server.is_paused) == ("/resume", False)


def test_a_server_of_sglang_drafts_and_takes_up_checkpoints(
    checkpoint, requests, projection, expected, rough_drafter
):
    with EngineServer(rough_drafter, load=load_drafter) as server:
        mining = MinerEngines([read_engine(f"sglang+{server.url}")])
        found, count = generate(mining, checkpoint, requests, projection)
        assert (found, mining.trouble) == (expected, None)
        assert server.orders == ["/update_weights_from_disk"]
        assert (count.discarded, server.asked > len(requests)) == (0, True)


def test_a_steps_cost_is_known(checkpoint, requests, projection, rough_drafter):
    with EngineServer(rough_drafter) as server:
        mining = open_all(server)
        assert mining.engines[0].state == "new"
        _, count = generate(mining, checkpoint, requests, projection)
        assert mining.engines[0].state == "drafting"
        assert count.drafting_s > 0
        assert count.reading_s > 0
        assert mining.horizon >= 8
