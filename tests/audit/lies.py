"""Helpers for several files of lies. A `Liar` tells each lie; see `audited.py`."""

from assay.protocol.record import Seen
from assay.protocol.ss58 import encode_ss58
from assay.verification.settlement import scale_values
from tests.audit.audited import HOTKEYS, LIAR

ADDRESS = encode_ss58(LIAR)


def raise_a_score(liar):
    liar.change_row(1, "alice", score=liar.get_row(1, "alice").score + 1)


def raise_a_value(liar):
    row = liar.get_row(1, "alice")
    values = (row.values[0] + 7, *row.values[1:])
    liar.change_row(1, "alice", values=values, score=scale_values(5, values))


def refuse_for(reason):
    def lie(liar):
        liar.change_row(1, "alice", reason=reason, values=(), score=0, witness=b"")

    lie.__name__ = f"refuse_for_{reason}"
    return lie


def find_earlier(network, public, window):
    """The content of nora's slot some blocks before the commitment block."""
    from assay.session.window_reader import get_window_commitments

    committed = get_window_commitments(network.chain, window, 12 * window + 8)[HOTKEYS["nora"]]
    return Seen(committed.root, committed.groups, committed.locator)
