"""A network that was audited: its bundle, and a liar who may change any record of it."""

from functools import cache

import pytest

from assay.artifacts.steps.file import open_step_parser
from assay.audit import window_check
from assay.audit.sources import ModelShelf
from assay.inference.checkpoint import Checkpoint
from assay.verification import Examined, read_plan
from tests.audit.audited import (
    FEW,
    Liar,
    list_differences,
    open_audit,
    play_network,
    read_records,
    remember_forward,
)
from tests.one_parser import share_parser

_decode_group_head = cache(read_plan.decode_group_head)


@pytest.fixture(scope="session")
def _parser():
    with open_step_parser() as parser:
        yield parser


@pytest.fixture(scope="module", autouse=True)
def _one_parser(_parser):
    """Not for the session: tests of other folders would have it, too, if they came later."""
    with share_parser(_parser):
        yield


@pytest.fixture(scope="session")
def _examined():
    """Bytes and facts → what was found, and objects by their ids, which live as long."""
    return {}, {}


@pytest.fixture(scope="module", autouse=True)
def _files_are_examined_once(_examined):
    """Audits examine the same bytes under the same facts again and again, and spend nearly all
    their time there: tests share what was found. What cannot be examined is tried each time."""
    (known, presumed), examine, presume = _examined, window_check.examine_file, Examined.presume

    def examine_once(reader, hotkey, context, outline):
        path = getattr(reader, "path", None)  # of a bundle's reader, and of `Located`
        if path is None or not path.is_file():
            return examine(reader, hotkey, context, outline)
        key = path.read_bytes(), hotkey, context.window, outline.manifest
        for facts, found in known.get(key, ()):
            if facts == context:
                return found
        found = examine(reader, hotkey, context, outline)
        known.setdefault(key, []).append((context, found))
        return found

    def presume_once(examined):
        if id(examined) not in presumed:
            presumed[id(examined)] = examined, presume(examined)
        return presumed[id(examined)][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_check, "examine_file", examine_once)
        patch.setattr(Examined, "presume", presume_once)
        patch.setattr(read_plan, "decode_group_head", _decode_group_head)
        yield


@pytest.fixture(scope="session")
def _forwards():
    return {
        name: remember_forward(getattr(Checkpoint, name)) for name in ("get_forward", "get_appeal")
    }


@pytest.fixture(scope="module", autouse=True)
def _rollouts_are_measured_once(_forwards):
    """By all audits with a network's model."""
    with pytest.MonkeyPatch.context() as patch:
        for name, get in _forwards.items():
            patch.setattr(Checkpoint, name, get)
        yield


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    return play_network(tmp_path_factory.mktemp("audited"), work=FEW)


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
