"""Hotkeys that answer the audit and stall the samples, each with a store of its own or all with
one: the validator asks every honest member in time, and nobody else pays for those that stall.

Stores are web servers on real sockets. The chain's head stands still while files are read, so that
no machine is too slow for the test; what a validator would have taken is counted from the seconds
that it has allotted.
"""

import math
from contextlib import closing
from dataclasses import replace
from hashlib import sha256

import pytest

from assay.artifacts.database import Database
from assay.artifacts.submissions import read_ahead
from assay.artifacts.submissions.pack import compute_pack_max
from assay.artifacts.submissions.read_ahead import ReadAhead
from assay.lab.simulator import SimulatedChain
from assay.network.store.http_client import HttpClient
from assay.network.store.opening import open_store
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.validator.journal import Journal, WindowProgress
from assay.neurons.validator.judged_window import JudgedWindow
from assay.neurons.validator.submission_queue import SubmissionQueue
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import make_object_name
from assay.protocol.context import Committed, Member
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import encode_submission
from assay.session.window_reader import Challenge
from assay.verification import Accepted
from tests.artifacts.conftest import ID_BITS, make_context, make_groups
from tests.network.store.hostile import CALM, Hostile, answer

#: The validator's own hotkey.
JUDGE = bytes(32)


class Together:
    """One window whose audits have found no fault, and whose samples are asked for now.

    Args:
        stalling, honest: numbers of hotkeys. Those that stall come first by hotkey.
        slot_ms: of a block. A stalled sample takes real seconds in proportion to it.
        readers: threads for audits; see `ReadAhead`.
    """

    def __init__(self, stalling, honest, slot_ms, readers):
        groups = make_groups(2)
        context = make_context(groups)
        timing = replace(context.parameters.timing, slot_ms=slot_ms)
        parameters = replace(context.parameters, timing=timing)
        numbers = range(stalling + honest)
        hotkeys = sorted(sha256(number.to_bytes(2)).digest() for number in numbers)
        self.stalling, self.honest = hotkeys[:stalling], hotkeys[stalling:]
        self.files, commitments = {}, {}
        self.readers, self.seconds = readers, {}
        self.servers = [Hostile(self.stall), Hostile(self.serve)]
        for hotkey in hotkeys:
            data, root = encode_submission(
                groups,
                parameters=parameters.digest,
                window=context.window,
                hotkey=hotkey,
                checkpoint=context.checkpoint,
                id_bits=ID_BITS,
            )
            name = make_object_name(encode_ss58(hotkey), context.window)
            self.files[f"/{name}"] = data
            locator = self.servers[hotkey in self.honest].url
            commitments[hotkey] = Committed(root, len(groups), 1, locator)
        members = {hotkey: Member(uid, 1) for uid, hotkey in enumerate(hotkeys)}
        self.context = replace(
            context, parameters=parameters, members=members, commitments=commitments
        )
        start = context.challenge_block, context.challenge, context.checkpoint
        challenge = Challenge(context.window, *start, parameters)
        self.judged = JudgedWindow(challenge, self.context)
        self.journal = Journal(
            Database(), JUDGE, ParameterHistory(parameters), WindowProgress(context.window, 0)
        )
        self.journal.open_window(challenge, context.window + 1)
        for hotkey in hotkeys:  # all audits are done
            verdict = Accepted(window=context.window, hotkey=hotkey, detail="", provisional=True)
            self.judged.add(verdict, self.head, 0.0)

    @property
    def head(self):
        """The block at which samples are drawn."""
        return self.context.challenge_block.number + self.context.parameters.timing.sample_offset

    def stall(self, method, path, headers, connection):
        self.servers[0].wait(600)

    def serve(self, method, path, headers, connection):
        data = self.files[path]
        if method == "HEAD":
            answer(connection, 200, b"", f"Content-Length: {len(data)}")
            return True
        first, last = map(int, headers["range"].removeprefix("bytes=").split("-"))
        body = data[first : last + 1]
        answer(connection, 206, body, f"Content-Range: bytes {first}-{last}/{len(data)}")
        return True

    def play(self, monkeypatch):
        """Ask for the samples of all until everybody was asked."""
        fetch = read_ahead.fetch

        def note(reader, seconds, parts):
            self.seconds[reader.hotkey] = seconds
            return fetch(reader, seconds, parts)

        monkeypatch.setattr(read_ahead, "fetch", note)
        timing = self.context.parameters.timing
        chain = SimulatedChain(b"", 1, 0, timing.slot_ms, timing.tempo)
        client = HttpClient(True, patience=CALM)
        stores = {server.url: open_store(server.url, client) for server in self.servers}
        sources = JudgeSources(chain, None, None, stores)
        with closing(client), closing(ReadAhead(sources, threads=self.readers)) as ahead:
            queue = SubmissionQueue(JUDGE, replace(sources, ahead=ahead), self.journal, None)
            judged = self.judged
            while len(judged.verdicts) + len(judged.withheld) < len(self.context.members):
                queue.judge_next(judged, self.context, self.head)
            for server in self.servers:
                server.close()

    @property
    def planned(self):
        """Seconds after which the last file was asked for and given up, if threads take stalled
        files in turn."""
        size = compute_pack_max(self.context.parameters, samples=True)
        readers = read_ahead.SAMPLES_FACTOR * self.readers
        places = min(readers, read_ahead.KEPT_BYTES // size)
        longest = max(self.seconds[hotkey] for hotkey in self.stalling)
        return math.ceil(len(self.stalling) / places) * longest


@pytest.mark.parametrize(
    ("stalling", "honest", "slot_ms", "readers"),
    [(24, 4, 700, 1), pytest.param(200, 56, 18_000, 24, marks=pytest.mark.nightly)],
)
def test_stalled_samples_keep_nobody_from_being_asked(
    monkeypatch, stalling, honest, slot_ms, readers
):
    """A validator that did not ask would abstain, and drop the window for everybody."""
    together = Together(stalling, honest, slot_ms, readers)
    together.play(monkeypatch)
    assert set(together.judged.verdicts) == set(together.honest)
    assert all(verdict.accepted for verdict in together.judged.verdicts.values())
    assert set(together.judged.withheld) == set(together.stalling)
    together.judged.close_fetching()
    assert together.judged.complete
    assert together.judged.counts
    timing = together.context.parameters.timing
    blocks = timing.fetch_end + 1 - timing.sample_offset
    assert together.planned < blocks * timing.slot_ms / 1_000
