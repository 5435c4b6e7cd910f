import contextlib

import pytest
from huggingface_hub import constants

from assay.network.hub.session import HubPatience, HubSession
from tests.hub_server import serving_alone

#: A patience that a test can wait for.
SHORT = HubPatience(
    connect_s=2,
    silence_s=0.5,
    answer_s=3,
    wait_s=2,
    pace_s=0.5,
    pace_bytes=1 << 16,
    tries=3,
    pause_s=0.01,
)


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    with serving_alone(monkeypatch) as server:
        yield server


@pytest.fixture
def connect(hub, tmp_path):
    """Opens a session with the server, with a token or none; lines are kept in `lines`."""

    @contextlib.contextmanager
    def opening(token=None, endpoint=None, patience=SHORT):
        file = None
        if token is not None:
            file = tmp_path / "token"
            file.write_text(f"{token}\n")
        with HubSession(opening.lines.append, file, patience, endpoint or hub.url) as session:
            yield session

    opening.lines = []
    return opening
