"""A network that was audited: its bundle, and a liar who may change any record of it."""

from collections.abc import Iterator

import pytest

from assay.artifacts.parquet import ParquetWorker
from assay.audit.sources import ModelShelf
from tests.audit.audited import Liar, list_differences, open_audit, play_network, read_records


@pytest.fixture(scope="session")
def worker() -> Iterator[ParquetWorker]:
    with ParquetWorker() as worker:
        yield worker


@pytest.fixture(scope="session")
def network(tmp_path_factory, worker):
    return play_network(tmp_path_factory.mktemp("audited"), worker)


@pytest.fixture(scope="session")
def bundle(network, worker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    report = network.export(worker, folder)
    assert report.matched, list_differences(report)
    return folder


@pytest.fixture(scope="session")
def public(bundle):
    with open_audit(bundle) as public:
        yield public


@pytest.fixture(scope="session")
def models(network):
    return ModelShelf([network.models])


@pytest.fixture
def liar(network, public):
    windows, settlements = read_records(public.records)
    return Liar(public.parameters, network.chain, windows, settlements)
