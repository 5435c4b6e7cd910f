"""Servers and clients that end with their test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from assay.network.store.base import ObjectStore
from assay.network.store.http_client import HttpClient, HttpTimeouts
from assay.network.store.opening import open_store
from tests.network.store.hostile import CALM, Hostile, Manners


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(stack: ExitStack) -> Callable[..., Hostile]:
    """Starts a server."""

    def start(manners: Manners, **more: Any) -> Hostile:
        return stack.enter_context(closing(Hostile(manners, **more)))

    return start


@pytest.fixture
def connect(stack: ExitStack) -> Callable[..., HttpClient]:
    """Makes a client."""
    return lambda *arguments, **more: stack.enter_context(closing(HttpClient(*arguments, **more)))


@pytest.fixture
def reach(
    start: Callable[..., Hostile], connect: Callable[..., HttpClient]
) -> Callable[..., tuple[ObjectStore, Hostile]]:
    """A server of these manners, and the store that a patient client sees there."""

    def reach(manners: Manners, patience: HttpTimeouts = CALM) -> tuple[ObjectStore, Hostile]:
        server = start(manners)
        return open_store(f"{server.url}/a", connect(True, patience=patience)), server

    return reach
