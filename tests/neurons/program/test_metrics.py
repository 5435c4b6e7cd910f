"""Figures for Prometheus: the table, the served text, and the dashboard."""

import json
import logging
import re
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from assay.network.store.base import StoreError
from assay.network.store.folder import open_folder
from assay.neurons.program import metrics_server
from assay.neurons.program.counters import Counters, VerdictCounter, meter
from assay.neurons.program.metric import MetricKind, get_served_name
from assay.neurons.program.metrics import COMMON, OWN
from assay.neurons.program.metrics_server import read_address, serve_metrics
from assay.settings.loading import ConfigError
from tests.statuses import VALIDATOR

ROOT = Path(__file__).parents[3]
TABLE = (*COMMON, *(metric for own in OWN.values() for metric in own))
NAMES = {get_served_name(metric) for metric in TABLE}


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def scrape(port: int) -> dict[str, Any]:
    text = httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_names_follow_the_conventions() -> None:
    assert len(NAMES) == len(TABLE)
    for metric in TABLE:
        name = get_served_name(metric)
        assert re.fullmatch(r"assay_[a-z]+(_[a-z]+)*", name), name
        assert not re.search(r"_(ms|mib|kb|minutes|percent|milliseconds)(_|$)", name), name
        assert (metric.kind is MetricKind.COUNTER) == name.endswith("_total"), name
        assert "hotkey" not in metric.labels or metric.name == "assay_info"  # its own


def test_an_unknown_value_has_no_figure_and_no_error() -> None:
    port = find_port()
    with serve_metrics(str(port), "validator") as note:
        assert not [name for name in scrape(port) if name.startswith("assay_")]
        note(VALIDATOR)
        found = scrape(port)
    assert {name for name in found if name.startswith("assay_")} == {
        metric.name for metric in (*COMMON, *OWN["validator"])
    }
    assert found["assay_chain_head_age_seconds"].samples == []
    assert {s.value for s in found["assay_validator_verdicts"].samples} == {0.0}
    (info,) = found["assay_info"].samples
    assert info.labels == {
        "program": "validator",
        "software": "assay 1",
        "netuid": "7",
        "hotkey": "5x",
    }
    with pytest.raises(httpx2.ConnectError):  # it ends with the program
        scrape(port)


def test_workers_are_counted_by_whether_they_work() -> None:
    port = find_port()
    workers = [{"lack": None, "lost": 2}, {"lack": "worker 1 on cuda:1: gone", "lost": 1}]
    with serve_metrics(str(port), "validator") as note:
        note(VALIDATOR | {"workers": workers})
        found = scrape(port)
    states = {s.labels["state"]: s.value for s in found["assay_validator_workers"].samples}
    assert states == {"working": 1.0, "left_out": 1.0}
    (lost,) = found["assay_validator_workers_lost"].samples
    assert lost.value == 3.0


def test_a_taken_port_is_said_so() -> None:
    port = find_port()
    with (
        serve_metrics(f"127.0.0.1:{port}", "miner"),
        pytest.raises(ConfigError, match=rf"--metrics 127\.0\.0\.1:{port}: .*name another port"),
        serve_metrics(f"127.0.0.1:{port}", "miner"),
    ):
        pass


ASKED = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"


def connect(stack: ExitStack, port: int, client: int = 1) -> socket.socket:
    address = f"127.0.0.{client}", 0
    return stack.enter_context(
        socket.create_connection(("127.0.0.1", port), 60, source_address=address)
    )


def test_idle_clients_are_bounded_and_cost_no_thread(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Eight of one client, sixteen in all; each holds its place here as long as it likes."""
    monkeypatch.setattr(metrics_server, "_REQUEST_S", 3_600)
    port = find_port()
    with ExitStack() as stack:
        stack.enter_context(serve_metrics(str(port), "miner"))
        threads = threading.active_count()
        held = [connect(stack, port) for _ in range(8)]
        refused = [read_to_the_end(connect(stack, port)) for _ in range(20)]
        held += [connect(stack, port, 2) for _ in range(8)]
        refused += [read_to_the_end(connect(stack, port, 2)) for _ in range(20)]
        refused += [read_to_the_end(connect(stack, port, 3)) for _ in range(4)]
        assert all(answer.startswith(b"HTTP/1.1 503") for answer in refused)
        assert threading.active_count() == threads
        for one in held:
            one.sendall(ASKED + b"\r\n")
            assert read_to_the_end(one).startswith(b"HTTP/1.1 200")
        assert scrape(port)
    assert capfd.readouterr() == ("", "")


def test_half_a_request_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metrics_server, "_REQUEST_S", 1)
    port = find_port()
    with serve_metrics(str(port), "miner"), ExitStack() as stack:
        silent, slow = connect(stack, port), connect(stack, port)
        slow.sendall(ASKED)
        assert read_to_the_end(silent) == read_to_the_end(slow) == b""
        body = connect(stack, port)  # which may drip: none is read
        body.sendall(ASKED + b"Content-Length: 1000\r\n\r\n")
        assert read_to_the_end(body).startswith(b"HTTP/1.1 413")
    assert capfd.readouterr() == ("", "")


def read_to_the_end(opened: socket.socket) -> bytes:
    said = b""
    try:
        while part := opened.recv(1 << 16):
            said += part
    except ConnectionResetError:
        pass
    return said


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9464", 200),
        ("localhost", 200),
        ("[::1]:9464", 200),
        ("miner.example:1", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("10.0.0.1", 421),
    ],
)
def test_a_request_under_another_name_is_refused(host: str, status: int) -> None:
    """A page of another site whose name was made to lead here."""
    port = find_port()
    with serve_metrics(str(port), "miner", ["Miner.example"]):
        answer = httpx2.get(f"http://127.0.0.1:{port}/metrics", headers={"Host": host}, timeout=60)
    assert answer.status_code == status
    assert (status == 421) == ("hosts under [metrics]" in answer.text)


def test_the_servers_messages_are_ordinary_log_lines(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    port = find_port()
    with caplog.at_level(logging.DEBUG, "assay"), serve_metrics(str(port), "miner") as note:
        note({"not": "a status"})
        assert httpx2.get(f"http://127.0.0.1:{port}/metrics", timeout=60).status_code == 500
    [record] = caplog.records
    assert (record.levelname, record.__dict__["event"]) == ("DEBUG", "metrics_request_failed")
    assert "KeyError" in record.getMessage()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", ["", "here", "1.2.3.4:", ":0", "127.0.0.1:70000", "h:1x", "h:٣"])
def test_an_invalid_address_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        read_address(text)


def test_a_port_alone_is_on_this_machine_only() -> None:
    assert read_address("9464") == read_address(":9464") == ("127.0.0.1", 9464)
    assert read_address("[::1]:9464") == ("::1", 9464)


def test_the_dashboard_asks_for_what_there_is() -> None:
    dashboard = json.loads((ROOT / "docs" / "grafana" / "assay.json").read_text())
    panels = dashboard["panels"]
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == ["Every program", "Miner", "Validator", "Trainer"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    asked = set()
    for panel in panels:
        for target in panel.get("targets", ()):
            names = set(
                re.findall(
                    r"[a-z]+(?:_[a-z]+)+", re.sub(r"\{[^}]*\}|\[[^]]*\]", "", target["expr"])
                )
            )
            asked |= names
            assert names <= NAMES | {"process_resident_memory_bytes"}, target["expr"]
        assert panel["type"] == "row" or panel["fieldConfig"]["defaults"]["unit"]
    for program in OWN:  # every figure of a program's own that the page names is worth a panel
        missing = {get_served_name(m) for m in OWN[program]} - asked
        assert missing <= {
            "assay_miner_window",
            "assay_miner_drafted_tokens_total",
            "assay_validator_settlements_total",
            "assay_trainer_held_out_checkpoint",
        }


def test_the_dashboard_s_panels_stand_beside_each_other_and_show_their_legends() -> None:
    """A legend that does not say so is hidden by dashboards of this schema."""
    dashboard = json.loads((ROOT / "docs" / "grafana" / "assay.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        legend = panel.get("options", {}).get("legend")
        assert legend is None or (legend["showLegend"] is True and legend["calcs"] == [])


def test_alerts_on_the_page_ask_for_what_there_is() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    named = set(re.findall(r"assay_[a-z_]+", page)) - {"assay_"}
    assert named == NAMES


def test_a_verdict_is_counted_once_and_one_from_before_never() -> None:
    tally = Counters()
    verdicts = VerdictCounter(tally, {1: "ACCEPTED"})
    assert verdicts.note({1: "ACCEPTED", 2: "LATE"}) == [2]
    assert verdicts.note({2: "LATE", 3: "LATE"}) == [3]
    assert verdicts.note({2: "LATE", 3: "LATE"}) == []
    assert tally.read() == {"verdicts": {"LATE": 2}}


def test_writings_are_counted_and_failures_too(tmp_path: Path) -> None:
    tally = Counters()
    store = meter(open_folder(tmp_path), tally)
    store.put("a/b", b"four")
    store.put_parts("c", [b"12", b"3"])
    with pytest.raises(StoreError):
        store.put("../out", b"x")
    assert store.get("a/b", 10) == b"four"
    counts = tally.read()
    assert counts["writes"] == {"done": 2, "failed": 1}
    assert counts["written_bytes"] == {"": 7}
    assert counts["write_seconds"][""] > 0
