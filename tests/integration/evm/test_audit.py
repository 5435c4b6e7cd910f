"""The audit beside the real contract: record, weights on chain and ledger say the same, or not."""

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assay.artifacts.database import Database
from assay.audit.auditor import audit
from assay.audit.opening import open_settled_ledger
from assay.cli.audit_view import describe_report
from assay.network.chain.errors import WrongChainError
from assay.network.evm import LedgerPoster, bind_hotkey
from assay.neurons.validator.post_outbox import PostOutbox
from assay.protocol.record import SettlementRecord
from assay.settings.loading import load_settings
from tests.audit.audited import (
    EPOCHS,
    LIAR,
    WINDOWS,
    Liar,
    Network,
    audit_liar,
    list_differences,
    open_audit,
    play_network,
    read_records,
)
from tests.integration.evm.anvil import NETUID, Stage

#: The validator has no real key: the mock knows its signature.
SIGNATURE = bytes(64)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return play_network(tmp_path_factory.mktemp("audited"))


def post(stage: Stage, records: list[SettlementRecord]) -> None:
    """Post the records as the validator itself does."""

    def sign(message: bytes) -> bytes:
        stage.anvil.allow(message, LIAR, SIGNATURE)
        return SIGNATURE

    bind_hotkey(stage.ledger, stage.key, LIAR, sign, 0)
    with closing(Database()) as database:
        outbox = PostOutbox(database, LedgerPoster(stage.ledger, stage.key, LIAR), 1)
        for record in records:
            outbox.put_record(record)
        outbox.step()
        stage.anvil.mine(2)
        outbox.step()


def export(network: Network, stage: Stage, out: Path) -> dict[str, Any]:
    public = network.make_public(ledger=stage.ledger)
    return describe_report(network.export(out, public=public))


def test_record_weights_and_ledger_agree_and_a_bundle_says_so(
    network: Network, stage: Stage, tmp_path: Path
) -> None:
    _, settlements = read_records(network.records)
    post(stage, list(settlements.values()))
    report = export(network, stage, tmp_path / "bundle")
    assert report["matched"]
    assert report["ledger_match"] is True
    assert all("ledger" in settled["checked"] for settled in report["settlements"])
    with open_audit(tmp_path / "bundle") as public:  # without any network
        assert describe_report(audit(public, LIAR, WINDOWS))["ledger_match"] is True
        # weights, scores and records written anew after they were posted
        liar = Liar(public.history, network.chain, *read_records(public.records))
        row = liar.get_row(1, "alice")
        liar.change_row(1, "alice", values=(*row.values[:-1], row.values[-1] + 1))
        liar.agree()
        report = audit_liar(public, liar, ledger=public.ledger)
        assert {epoch for epoch in EPOCHS if _accused(report, epoch)} == set(EPOCHS)


def _accused(report: Any, epoch: int) -> bool:
    (found,) = [settled for settled in report.settlements if settled.number == epoch]
    return any(check.value == "ledger" for check, _ in found.differences)


def test_an_entry_not_yet_posted_is_no_lie_and_no_match(
    network: Network, stage: Stage, tmp_path: Path
) -> None:
    _, settlements = read_records(network.records)
    post(stage, [settlements[EPOCHS[0]]])
    report = export(network, stage, tmp_path / "bundle")
    assert (report["matched"], report["ledger_match"]) == (False, None)
    assert all("first_difference" not in settled for settled in report["settlements"])


def test_posted_and_never_published(network: Network, stage: Stage) -> None:
    """The ledger has another root than the record: its readers would see other scores."""
    _, settlements = read_records(network.records)
    other = replace(settlements[EPOCHS[1]], score_root=b"\1" * 32)
    post(stage, [other])
    report = audit(network.make_public(ledger=stage.ledger), LIAR, WINDOWS)
    assert [check for check, _ in list_differences(report)] == ["ledger"]


def test_a_ledger_at_the_same_address_of_another_chain(stage: Stage) -> None:
    own = {"endpoint": stage.anvil.endpoint, "chain_id": 964, "contract": stage.ledger.address}
    settings = load_settings(None, {"chain": {"netuid": NETUID}, "ledger": own})
    with ExitStack() as stack, pytest.raises(WrongChainError, match=r"42.*964"):
        open_settled_ledger(settings, stack)
