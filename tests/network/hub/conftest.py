import contextlib
from dataclasses import replace

import pytest
from huggingface_hub import constants

from assay.network.hub.session import HubPatience, HubSession
from tests.hub_server import serving_alone, trickling, waiting

#: What no test waits for is generous: machines are busy.
PATIENT = HubPatience(
    connect_s=60,
    silence_s=60,
    answer_s=60,
    wait_s=2,
    pace_s=60,
    pace_bytes=1 << 16,
    tries=3,
    pause_s=0.01,
)


def choose_patience(faults):
    """One that a test can wait for, where a server is silent or slow."""
    acts = {fault.act for fault in faults}
    if waiting in acts:
        return replace(PATIENT, silence_s=0.5, answer_s=3)
    return replace(PATIENT, pace_s=0.5) if trickling in acts else PATIENT


@pytest.fixture
def hub(monkeypatch):
    with serving_alone(monkeypatch) as server:
        yield server


@pytest.fixture
def connect(hub, tmp_path, monkeypatch):
    """Opens a session with the server, with a token or none; lines are kept in `lines`."""

    @contextlib.contextmanager
    def opening(token=None, endpoint=None):
        file, patience = None, choose_patience(hub.faults)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", patience.silence_s)
        if token is not None:
            file = tmp_path / "token"
            file.write_text(f"{token}\n")
        with HubSession(opening.lines.append, file, patience, endpoint or hub.url) as session:
            yield session

    opening.lines = []
    return opening
