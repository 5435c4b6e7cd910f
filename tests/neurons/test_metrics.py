"""Figures for Prometheus: the table, what is served of it, and the dashboard over it."""

import json
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from assay.network import StoreError
from assay.network.store import open_folder
from assay.neurons.config import ConfigError
from assay.neurons.metrics import COMMON, OWN, Kind, get_served_name
from assay.neurons.metrics_server import read_address, serve_metrics
from assay.neurons.tally import Tally, Verdicts, meter
from tests.statuses import VALIDATOR

ROOT = Path(__file__).parents[2]
TABLE = (*COMMON, *(metric for own in OWN.values() for metric in own))
NAMES = {get_served_name(metric) for metric in TABLE}


def find_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def scrape(port: int) -> dict[str, Any]:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_names_follow_the_conventions() -> None:
    assert len(NAMES) == len(TABLE)
    for metric in TABLE:
        name = get_served_name(metric)
        assert re.fullmatch(r"assay_[a-z]+(_[a-z]+)*", name), name
        assert not re.search(r"_(ms|mib|kb|minutes|percent|milliseconds)(_|$)", name), name
        assert (metric.kind is Kind.COUNTER) == name.endswith("_total"), name
        assert "hotkey" not in metric.labels or metric.name == "assay_info"  # its own


def test_what_is_not_known_has_no_figure_and_nothing_fails_for_it() -> None:
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
        "program": "validator", "software": "assay 1", "netuid": "7", "hotkey": "5x"
    }  # fmt: skip
    with pytest.raises(httpx.ConnectError):  # it ends with the program
        scrape(port)


def test_a_taken_port_is_said_so() -> None:
    port = find_port()
    with (
        serve_metrics(f"127.0.0.1:{port}", "miner"),
        pytest.raises(ConfigError, match=rf"--metrics 127\.0\.0\.1:{port}: .*name another port"),
        serve_metrics(f"127.0.0.1:{port}", "miner"),
    ):
        pass


@pytest.mark.parametrize("text", ["", "here", "1.2.3.4:", ":0", "127.0.0.1:70000", "h:1x", "h:٣"])
def test_what_is_no_address_is_said_so(text: str) -> None:
    with pytest.raises(ConfigError, match="is no address"):
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
            "assay_miner_window", "assay_miner_drafted_tokens_total",
            "assay_validator_settlements_total", "assay_trainer_held_out_checkpoint",
        }  # fmt: skip


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
    tally = Tally()
    verdicts = Verdicts(tally, {1: "ACCEPTED"})
    assert verdicts.note({1: "ACCEPTED", 2: "LATE"}) == [2]
    assert verdicts.note({2: "LATE", 3: "LATE"}) == [3]
    assert verdicts.note({2: "LATE", 3: "LATE"}) == []
    assert tally.read() == {"verdicts": {"LATE": 2}}


def test_writings_are_counted_and_failures_too(tmp_path: Path) -> None:
    tally = Tally()
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
