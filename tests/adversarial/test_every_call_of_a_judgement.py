"""Every call that judging a file makes is made to fail, with every kind of error: no other miner
loses a window.

The list of calls is not written by hand: one honest file is judged under a profile, which sees each
of our functions, and each function of a library that ours call.
"""

import os
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest
import torch

import assay
from assay.artifacts.database import Database
from assay.artifacts.submissions import judge as submission_judge
from assay.inference.placing.devices import DeviceError, MemoryLackError
from assay.neurons.validator import submission_queue
from assay.neurons.validator.journal import Journal, WindowProgress
from assay.neurons.validator.judged_window import JudgedWindow
from assay.neurons.validator.submission_queue import SubmissionQueue
from assay.protocol.reason import Reason
from assay.protocol.window import Phase, compute_block
from assay.sandbox import WorkerError
from assay.session.window_reader import get_challenge
from tests.adversarial.conftest import make_world

#: Where our code is, links followed and not.
ROOTS = tuple(f"{place}{os.sep}" for place in assay.__path__)
#: What passes errors on, names them, and watches: not part of judging.
OUTSIDE = {
    *("_try_twice", "note_unjudged", "judge_hotkey", "judge_samples", "watch", "encode_ss58"),
    "_checksum",
}


class PanicError(BaseException):
    """What a library in Rust throws: no Exception."""


ERRORS = (
    *(WorkerError, DeviceError, MemoryLackError, OSError, MemoryError, RecursionError),
    *(RuntimeError, ValueError, KeyError, AssertionError, UnicodeDecodeError, PanicError),
)


def make_error(kind):
    return kind("utf-8", b"", 0, 1, "bad") if kind is UnicodeDecodeError else kind("injected")


def name_call(frame, event, called):
    """A call's name: of one of our functions, or of a library's that ours calls; None: neither."""
    code, back = frame.f_code, frame.f_back
    names = {code.co_name, back.f_code.co_name if back else ""}
    if not code.co_filename.startswith(ROOTS) or names & OUTSIDE:
        return None
    if event == "call":
        return f"{code.co_filename}:{code.co_qualname}"
    if event == "c_call" and called.__name__ not in {
        "__exit__",
        "release",
    }:  # of locks: they cannot
        return f"{code.co_filename}:{code.co_qualname} calls {called.__qualname__}"
    return None


@contextmanager
def profiled(see):
    """`see` is called with the name of each call."""

    def profile(frame, event, called):
        name = name_call(frame, event, called)
        if name is not None:
            see(name)

    sys.setprofile(profile)
    threading.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@dataclass
class Window:
    """A window whose files are all there, to be judged as often as wanted."""

    world: object
    challenge: object
    context: object

    def judge(self):
        """Judge all files as a validator does, and close the window."""
        world, timing = self.world, self.world.parameters.timing
        hotkey = world.hotkeys["validator"]
        journal = Journal(Database(), hotkey, world.history, WindowProgress(0, 0))
        journal.open_window(self.challenge, 1)
        judged = JudgedWindow(self.challenge, self.context)
        queue = SubmissionQueue(hotkey, world.sources, journal, None)
        last = compute_block(timing, 0, Phase.FETCH_END)
        for head in range(last - 3, last + 1):
            while queue.judge_next(judged, self.context, head):
                pass
        judged.close_fetching()
        queue.close(judged, last)
        return judged


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    torch.set_num_threads(1)
    world = make_world(tmp_path_factory.mktemp("calls"), ("alice", "bob", "carol"), last=0)
    context = world.open_context(0)
    challenge = get_challenge(world.chain, world.beacons, world.parameters, 0)
    return Window(world, challenge, context)


@contextmanager
def watching(see, hotkeys):
    """`see` is called with the name of each call that judging these hotkeys' files makes."""
    honest = {name: getattr(submission_judge, name) for name in ("judge_hotkey", "judge_samples")}

    def watch(judge, context, hotkey, *given, **named):
        if hotkey not in hotkeys:
            return judge(context, hotkey, *given, **named)
        with profiled(see):
            return judge(context, hotkey, *given, **named)

    for name, judge in honest.items():
        setattr(submission_queue, name, partial(watch, judge))
    try:
        yield
    finally:
        for name, judge in honest.items():
            setattr(submission_queue, name, judge)


@pytest.fixture(scope="module")
def calls(window):
    """The calls that judging a file makes, in the order in which they are first made."""
    seen = {}
    with watching(lambda name: seen.setdefault(name), {window.world.hotkeys["alice"]}):
        judged = window.judge()
    assert {judged.verdicts[window.world.hotkeys[n]].reason for n in window.world.miners} == {
        Reason.ACCEPTED
    }
    assert len(seen) > 300
    return list(seen)


def list_harmed(window, calls, shift=0):
    """The calls whose failing, for two miners' files, takes a third miner's window. Each fails with
    another kind of error."""
    harmed, hotkeys = [], window.world.hotkeys
    for number, call in enumerate(calls, shift):
        kind = ERRORS[number % len(ERRORS)]

        def see(name, call=call, kind=kind):
            if name == call:
                raise make_error(kind)

        with watching(see, {hotkeys["alice"], hotkeys["carol"]}):
            judged = window.judge()
        verdict = judged.verdicts.get(hotkeys["bob"])
        if verdict is None or not verdict.accepted or not judged.counts:
            harmed.append((call, kind.__name__, judged.missing))
    return harmed


def test_no_call_that_fails_for_some_files_takes_anothers_window(window, calls):
    assert list_harmed(window, calls[:: len(calls) // 12]) == []


@pytest.mark.nightly
@pytest.mark.parametrize("shift", [0, 5])
def test_no_call_of_all_that_fails_takes_anothers_window(window, calls, shift):
    assert list_harmed(window, calls, shift) == []
