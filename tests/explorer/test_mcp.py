"""What an agent is served, through the official client: `assay mcp` as a program."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from jsonschema import Draft202012Validator
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from assay.explorer import mcp_server
from assay.explorer.mcp_server import ExplorerTools, Json, list_tools, run_in_process
from assay.explorer.openapi import make_api_path
from assay.explorer.page_addresses import PAGES
from tests.commands import run_command
from tests.explorer.inside import look_into
from tests.explorer.program import serve
from tests.tree import ROOT

Call = tuple[str, Mapping[str, Any]]


def ask(calls: list[Call], *arguments: object) -> tuple[list[Any], list[Any]]:
    """The tools that a client is told of, and the answers to its calls."""
    words = ["-P", "-m", "assay", "mcp", *map(str, arguments)]
    program = StdioServerParameters(
        command=sys.executable, args=words, env={"PYTHONPATH": f"{ROOT}"}
    )

    async def talk() -> tuple[list[Any], list[Any]]:
        with anyio.fail_after(300):
            async with stdio_client(program) as streams, ClientSession(*streams) as session:
                await session.initialize()
                tools = (await session.list_tools()).tools
                return tools, [await session.call_tool(name, dict(given)) for name, given in calls]

    return anyio.run(talk)


def test_an_agent_reads_what_the_pages_show(demo: Path) -> None:
    with look_into(demo) as inside:
        member = inside.get("/api/v1/miners").json()["miners"][0]["hotkey"]
        shown = {
            "get_windows": inside.get("/api/v1/windows?size=2").json(),
            "get_miner": inside.get(f"/api/v1/miner/{member}").json(),
        }
    calls: list[Call] = [
        ("get_windows", {"size": 2}),
        ("get_miner", {"hotkey": member}),
        ("get_window", {"window": 10**6}),
        ("get_miner", {}),
        ("get_window", {"window": 6, "all": True}),
        ("send_weights", {}),
        ("get_status", {}),
    ]
    tools, answers = ask(calls, "--dir", demo)
    assert [tool.name for tool in tools] == list(list_tools())
    assert all(tool.annotations.read_only_hint for tool in tools)
    for tool in tools:
        Draft202012Validator.check_schema(tool.input_schema)
    windows, miner, absent, unnamed, strange, none, status = answers
    assert json.loads(windows.content[0].text) == shown["get_windows"]
    assert json.loads(miner.content[0].text)["hotkey"] == shown["get_miner"]["hotkey"]
    assert [one.is_error for one in answers] == [False, False, True, True, True, True, False]
    assert "get_miner needs hotkey" in unnamed.content[0].text
    assert "get_window has no 'all'" in strange.content[0].text
    assert "there is no tool 'send_weights'" in none.content[0].text
    assert "window" in json.loads(absent.content[0].text)["error"]
    assert json.loads(status.content[0].text)["program"] == "validator"


def test_an_explorer_that_is_served_already(demo: Path) -> None:
    with serve(demo.parent, "--dir", str(demo)) as explorer:
        _, (overview,) = ask([("get_overview", {})], "--explorer", explorer.address)
    assert json.loads(overview.content[0].text)["title"] == "Overview"
    _, (away,) = ask([("get_overview", {})], "--explorer", explorer.address)
    assert away.is_error
    assert f"{explorer.address}" in away.content[0].text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--dir", "nowhere"], "there is no such folder"),
        (["--explorer", "127.0.0.1:8400"], "name an address, as http://127.0.0.1:8400"),
        (["--explorer", "http://[::1"], "name an address, as http://127.0.0.1:8400"),
        (["--explorer", "http://127.0.0.1:99999"], "name an address, as http://127.0.0.1:8400"),
    ],
)
def test_nothing_to_show(given: list[str], said: str, tmp_path: Path) -> None:
    done = run_command("mcp", *given, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_every_address_of_the_api_is_a_tool() -> None:
    paths = {path for _, path in list_tools().values()}
    assert paths == {*map(make_api_path, PAGES), ""}


async def call_echo(name: str, values: Mapping[str, Any]) -> Any:
    """The answer of an explorer that tells the address which it was asked for."""

    async def tell(request: Request) -> JSONResponse:
        return JSONResponse(str(request.url))

    async with run_in_process(Starlette(routes=[Route("/{path:path}", tell)])) as client:
        return await ExplorerTools(client, dict).call(name, values)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        *(("get_miner", {"hotkey": text}, "hotkey") for text in ("", "..", "a/b", "%2e", "5" * 99)),
        ("get_miner", {"hotkey": "\ud800"}, "hotkey is letters and digits"),
        *(("get_window", {"window": n}, "window: ") for n in (-1, True, 1.5, "6/a", 1 << 70, None)),
        ("get_windows", {"size": "many"}, "size: 'many' is not of type 'integer'"),
        ("get_windows", {"table": "none"}, "table: 'none' is not one of"),
        ("get_windows", {"page": [1]}, "page: [1] is not of type 'integer'"),
    ],
)
def test_what_a_schema_excludes_is_refused(name: str, values: Json, said: str) -> None:
    answer = anyio.run(call_echo, name, values)
    assert answer.is_error
    assert said in answer.content[0].text


def test_a_number_may_be_a_text() -> None:
    answer = anyio.run(call_echo, "get_window", {"window": "6"})
    assert (answer.is_error, answer.content[0].text[-10:]) == (False, '/window/6"')


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    sent = 0

    async def pour() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 16
            yield bytes(1 << 16)

    async def ask_it() -> Any:
        transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=pour()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://explorer") as client:
            return await ExplorerTools(client, dict).call("get_overview", {})

    answer = anyio.run(ask_it)
    assert answer.is_error
    assert "ask for one `table`" in answer.content[0].text
    assert sent < 2_000_000


async def call_small(text: str, limit: int) -> tuple[Any, ...]:
    """An explorer with one answer, asked for an overview; and a status that cannot be read."""

    def fail() -> None:
        raise ValueError("nothing runs here")

    async def answer(_: Any) -> PlainTextResponse:
        return PlainTextResponse(text)

    app = Starlette(routes=[Route("/api/v1/overview", answer)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcp_server, "ANSWER_MAX", limit)
        async with run_in_process(app) as client:
            assert isinstance(client, httpx2.AsyncClient)
            tools = ExplorerTools(client, fail)
            return await tools.call("get_overview", {}), await tools.call("get_status", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [('["x"]', '["x"]'), (json.dumps(["x"] * 20), "ask for one `table`"), ("<p>", "no JSON")],
)
def test_long_and_strange_answers(text: str, said: str) -> None:
    overview, status = anyio.run(call_small, text, 60)
    assert said in overview.content[0].text
    assert overview.is_error == (said != text)
    assert (status.is_error, status.content[0].text) == (True, "nothing runs here")
