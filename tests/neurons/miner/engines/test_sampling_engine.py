"""Completions of an evaluation by servers with OpenAI's API: plain, with ids, late, away."""

import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from assay.environments.base import ask
from assay.evaluation.folder import Ask
from assay.evaluation.request import EvaluationRules
from assay.evaluation.sampling import AskedPrompt
from assay.inference.checkpoint import load_outline
from assay.neurons.miner.engines import sampling
from assay.neurons.miner.engines.engine import EngineError
from assay.neurons.miner.engines.sampling import EngineSampler, read_sampling_engine
from assay.training import GENESIS

RULES = EvaluationRules(samples=1, temperature=512, max_tokens=8, seed=0)


@pytest.fixture(scope="module")
def outline():
    return load_outline(GENESIS)


@contextmanager
def serve(answer):
    """A server whose answers are status and JSON by `answer(order, number)`."""
    orders, counts = [], Counter()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            orders.append(order)
            counts[str(order["prompt"])] += 1
            status, document = answer(order, counts[str(order["prompt"])])
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}#tiny", orders
        server.shutdown()


def complete(url, outline, count=3):
    engine = read_sampling_engine(url)
    sampler = EngineSampler(
        engine,
        outline.tokenizer,
        outline.manifest.end_tokens,
        RULES,
        len(outline.tokenizer.drawable),
    )

    def cut(text):
        return text.partition("Q:")[0] if "Q:" in text else None

    asked = [AskedPrompt(Ask(0, n, 0), (n, n), bytes([n]) * 32, cut, ("Q:",)) for n in range(count)]
    drawn = [each for some in sampler.complete(asked) for each in some]
    return sorted(drawn, key=lambda each: each.ask.row)


def choose(text, reason="stop", tokens=2, **more):
    choice = {"text": text, "finish_reason": reason, **more}
    return 200, {"choices": [choice], "usage": {"completion_tokens": tokens}}


def test_a_server_is_asked_as_openai_has_it(outline):
    with serve(lambda order, _: choose(str(order["prompt"]), "length")) as (url, orders):
        drawn = complete(url, outline)
    assert [each.text for each in drawn] == ["[0, 0]", "[1, 1]", "[2, 2]"]
    assert [(each.tokens, each.ended) for each in drawn] == [(2, False)] * 3
    assert len({order.pop("seed") for order in orders}) == 3
    expected = {"max_tokens": 8, "model": "tiny", "stop": ["Q:"], "temperature": 0.5}
    assert expected.items() <= orders[0].items()


def test_a_server_without_ids_may_spell_the_end(outline):
    """Its text is judged as the text of the same ids would be."""
    end = outline.tokenizer.decode([])  # of nothing, nothing
    name = json.loads((GENESIS / "tokenizer_config.json").read_text())["eos_token"]
    with serve(lambda *_: choose(f"#### 10{name}{end}")) as (url, _):
        assert [each.text for each in complete(url, outline, 1)] == ["#### 10"]


def test_ids_are_decoded_and_stops_are_cut(outline):
    ids = [outline.tokenizer.encode(ask("7=7\n"))[0], outline.manifest.end_tokens[0]]
    text = outline.tokenizer.decode(ids)
    with serve(lambda *_: choose("other Q: words", token_ids=ids)) as (url, _):
        assert [(each.text, each.tokens) for each in complete(url, outline, 1)] == [(text, 2)]
    with serve(lambda *_: choose("seven Q: eight", "length")) as (url, _):
        (drawn,) = complete(url, outline, 1)
    assert (drawn.text, drawn.ended) == ("seven ", True)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, {"choices": []}), "answers no completion"),
        (choose("a", token_ids=[1 << 30]), "ids that the model in MODEL does not have"),
        (choose("a", token_ids=[0] * 9), "more tokens than were asked for"),
        (choose("a", tokens=True), "answers no completion"),
        ((400, {"error": "too long"}), "it answers 400: .*too long"),
    ],
)
def test_a_server_that_answers_wrongly_is_reported_at_once(outline, answer, said):
    with (
        serve(lambda *_: answer) as (url, orders),
        pytest.raises(EngineError, match=f"engine .*{said}.*; the same command continues"),
    ):
        complete(url, outline, 1)
    assert len(orders) == 1


def test_a_busy_server_is_asked_again_and_an_absent_one_is_reported(outline, monkeypatch):
    monkeypatch.setattr(sampling.SamplingEngine, "pauses_s", (0.01, 0.01))
    busy = (503, {"error": "busy"})
    with serve(lambda _, number: choose("7") if number == 3 else busy) as (url, orders):
        assert [each.text for each in complete(url, outline)] == ["7"] * 3
    assert len(orders) == 9
    with pytest.raises(EngineError, match=r"engine http.*; the same command continues"):
        complete(url, outline)
    with pytest.raises(EngineError, match="name a server with OpenAI's API"):
        read_sampling_engine("sglang+http://127.0.0.1:1")
