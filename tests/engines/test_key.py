"""The key of a server that a miner starts."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

ROOT = Path(__file__).parents[2]
PATHS = "/v1/completions", "/collective_rpc", "/health", "/metrics", "/nothing"

#: Loaded by its path: its package is for an environment with vLLM.
_SPEC = spec_from_file_location("key", ROOT / "engines/vllm/assay_vllm/key.py")
key = module_from_spec(_SPEC)
_SPEC.loader.exec_module(key)


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setenv(key.VARIABLE, "abcd")

    async def answer(request):
        return Response("ok")

    routes = [Route(path, answer) for path in PATHS[:-1]]
    with TestClient(Starlette(routes=routes, middleware=[Middleware(key.RequireKey)])) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("given", [None, "", "abcd", "Bearer ", "Bearer abc", "bearer abcd"])
def test_nothing_is_answered_without_it(client, path, given):
    headers = {} if given is None else {"Authorization": given}
    assert client.get(path, headers=headers).status_code == 401


def test_everything_is_answered_with_it(client):
    headers = {"Authorization": "Bearer abcd"}
    statuses = [client.get(path, headers=headers).status_code for path in PATHS]
    assert statuses == [200, 200, 200, 200, 404]


def test_a_server_without_one_does_not_start(monkeypatch):
    monkeypatch.delenv(key.VARIABLE, raising=False)
    with pytest.raises(KeyError, match=key.VARIABLE):
        key.RequireKey(None)
