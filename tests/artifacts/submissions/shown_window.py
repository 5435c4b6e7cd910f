"""A window that a miner has shown, its judge, and stores that fail or mirror it."""

from dataclasses import dataclass, replace

from assay.artifacts.store_objects import make_mirror_name
from assay.artifacts.submissions.judge import judge_hotkey, judge_samples
from assay.artifacts.submissions.pack import pack_parts
from assay.artifacts.submissions.read_ahead import fetch
from assay.artifacts.submissions.reader import AUDITED, KnownMirror, ReadRequest, open_submission
from assay.judge.pack import encode_pack
from assay.network.store.base import StoreError
from assay.network.store.folder import open_folder
from assay.neurons.program.neuron import JudgeSources
from assay.verification import Ledger
from tests.neurons.miner_bench import ALICE, LOCATOR

SAMPLED = ReadRequest(samples=True)


@dataclass
class Shown:
    """A window that Alice has mined, and everything to judge it."""

    context: object
    sources: JudgeSources
    checkpoint: object
    name: str

    def judge(self, sources=None, *, late=False):
        return judge_hotkey(
            self.context, ALICE, self.checkpoint, sources or self.sources, Ledger(), late=late
        ).verdict

    def judge_samples(self, verdict, sources=None, *, late=False):
        return judge_samples(self.context, ALICE, sources or self.sources, verdict, late=late)


class Broken:
    """A store that cannot be read."""

    def open(self, name):
        return self

    def read(self, start, end):
        raise StoreError("the wire is cut")

    def get(self, name, limit):
        raise StoreError("the wire is cut")


def with_store(shown, store, mirrors=()):
    return with_mirrors(replace(shown.sources, stores={LOCATOR: store}), *mirrors)


def with_mirrors(sources, *mirrors):
    return replace(sources, mirrors=lambda root: [KnownMirror(store) for store in mirrors])


def mirror_of(shown, folder, *lookings):
    """A store with the copies that a validator leaves there."""
    store = open_folder(folder)
    for looking in lookings or (AUDITED, SAMPLED):
        packed = pack_file(open_submission(shown.context, ALICE, shown.sources, looking))
        root = shown.context.commitments[ALICE].root
        name = make_mirror_name(0, root, samples=looking.samples)
        store.put(name, encode_pack(packed))
    return store


def pack_file(reader):
    """The parts that a validator reads of a file that is whole."""
    parts = {}
    assert fetch(reader, parts=parts).is_whole
    return pack_parts(reader.hotkey, parts)
