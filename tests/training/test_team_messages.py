"""Requests to the processes of a team: what was sent is received, to the bit, and nothing else is
taken for a request."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.inference.workers.messages import pack
from assay.protocol.episode import Reply
from assay.training import Group, Gspo, LearnConfig, Schedule
from assay.training.objectives import Distillation, Imitation, Preference
from assay.training.team_messages import Plan, Request, decode_request, encode_request
from tests.training.team import make_examples, make_groups, make_pairs

CONFIG = LearnConfig(
    learning_rate=1e-3, schedule=Schedule("linear", 2, 10), loss=Gspo(high=0.5), excluded=(5, 6)
)
EPISODE = Group(
    [1, 2], [[3, 4, 5]], [-7], [[-0.1, float("-inf"), -1e-300]], [[Reply(1, (8, 9)), Reply(2, ())]]
)
REQUESTS = [
    Request("end"),
    Request("learn", (make_groups(), make_examples(), 3), 12),
    Request("learn", ([EPISODE], [], 0), 0),
    Request("update", (make_examples(), Imitation(), 0.1 + 0.2), 1),
    Request("measure", (make_examples(), Distillation()), 1),
    Request("update", (make_pairs(), Preference(0.5), 1e-5), 1),
    Request("save_state", (Path("a/b"),)),
    Request("make", (Plan(Path("m"), CONFIG, None, "cpu", ((b"{}", 0),), None),)),
    Request("make", (Plan(Path("m"), CONFIG, Path("r"), "cuda", ((b"", 1), (b"x", 2)), b"\xff"),)),
]
HEADER = {"Request": ["end", {"tuple": []}, None]}
NO_REQUESTS = {
    "a pickle": pickle.dumps(("end", (), None)),
    "nothing": b"",
    "no header": pack({}),
    "another kind": pack({"request": {"Group": []}}),
    "a plain value": pack({"request": "end"}),
    "an unknown kind": pack({"request": {"Request": [{"os.system": ["true"]}, [], None]}}),
    "two kinds": pack({"request": {"Request": ["end"], "path": "x"}}),
    "no kind": pack({"request": {}}),
    "a name that is no text": pack({"request": {"Request": [5, {"tuple": []}, None]}}),
    "more numbers than came": pack(
        {"request": {"Request": ["end", {"tuple": {"ints": 1 << 60}}, None]}}
    ),
    "fewer than none": pack({"request": {"Request": ["end", {"tuple": {"ints": -1}}, None]}}),
    "no columns": pack({"request": HEADER}),
}


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda sent: sent.name)
def test_a_request_arrives_as_it_was_sent(request_: Request) -> None:
    received = decode_request(encode_request(request_))
    assert received == request_
    assert repr(received) == repr(request_)  # types and signs, too


@given(
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1)),
    st.lists(st.floats(allow_nan=False)),
    st.lists(st.integers(0, 9) | st.floats(allow_nan=False) | st.booleans() | st.none()),
    st.binary(),
)
def test_numbers_keep_their_type_and_all_bits(
    ints: list[int], floats: list[float], mixed: list[object], data: bytes
) -> None:
    sent = Request("learn", (ints, tuple(floats), mixed, data), 1)
    assert repr(decode_request(encode_request(sent))) == repr(sent)


@pytest.mark.parametrize("what", NO_REQUESTS)
def test_what_is_no_request_is_refused(what: str) -> None:
    with pytest.raises(ValueError, match=r"^no request of a team"):
        decode_request(NO_REQUESTS[what])


@given(st.integers(0, 1 << 20), st.integers(0, 7))
def test_a_changed_bit_is_a_value_or_an_error(at: int, bit: int) -> None:
    data = bytearray(encode_request(replace(REQUESTS[1], step=3)))
    data[at % len(data)] ^= 1 << bit
    try:
        received = decode_request(bytes(data))
    except ValueError:
        return
    assert isinstance(received, Request)


def test_a_program_is_no_part_of_a_request() -> None:
    with pytest.raises(TypeError, match="cannot hold a builtin_function_or_method"):
        encode_request(Request("learn", (print,)))
