"""A network that was audited: its bundle, and a liar who may change any record of it."""

import pytest

from assay.audit.sources import ModelShelf
from tests.audit.audited import Liar, list_differences, open_audit, play_network, read_records


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    return play_network(tmp_path_factory.mktemp("audited"))


@pytest.fixture(scope="session")
def bundle(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    report = network.export(folder)
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
    return Liar(public.history, network.chain, windows, settlements)
