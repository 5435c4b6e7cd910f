"""Serves a running program's metrics to Prometheus: few connections, each with deadlines."""

import logging
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector, make_asgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from assay.artifacts.status.program import ProgramStatus
from assay.neurons.program.metric import MetricKind
from assay.neurons.program.metrics import COMMON, OWN
from assay.settings.loading import ConfigError

if TYPE_CHECKING:  # a program that serves nothing should not load it
    from uvicorn import Server

logger = logging.getLogger("assay")

#: The host for an address that is only a port.
_LOOPBACK = "127.0.0.1"
#: Connections in all, and from one client (Prometheus needs one); seconds to receive a request and
#: to send an answer.
_CONNECTIONS, _PER_CLIENT, _REQUEST_S, _ANSWER_S = 16, 8, 10, 10
#: Seconds that the server may take to stop.
_STOP_S = 5.0


class StatusCollector(Collector):
    """The table's metrics of the latest status. `status` is None before the first one: then there
    are no metrics."""

    def __init__(self, program: str) -> None:
        self.status: ProgramStatus | None = None
        self._metrics = (*COMMON, *OWN[program])

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """See `Collector`."""
        status = self.status
        if status is None:
            return
        for metric in self._metrics:
            kind = CounterMetricFamily if metric.kind is MetricKind.COUNTER else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for key, figure in metric.read(status).items():
                values = key if isinstance(key, tuple) else (key,)
                family.add_metric(values[: len(metric.labels)], figure)
            yield family


class _Debugging(logging.Handler):
    """Logs the server's own messages at debug level, because a client can cause them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the message as one of our lines."""
        error = record.exc_info[1] if record.exc_info else None
        logger.debug(
            "the metrics' server says: %s",
            " ".join(record.getMessage().split()[:50]) + (f" ({error!r:.200})" if error else ""),
            extra={"event": "metrics_request_failed"},
        )


@contextmanager
def _debugging() -> Iterator[None]:
    """Redirect the server's own log lines to ours."""
    theirs = logging.getLogger("uvicorn")
    before = theirs.propagate, theirs.handlers
    theirs.propagate, theirs.handlers = False, [_Debugging()]
    try:
        yield
    finally:
        theirs.propagate, theirs.handlers = before


@contextmanager
def serve_metrics(
    listen: str | None, program: str, hosts: Sequence[str] = ()
) -> Iterator[Callable[[ProgramStatus], None]]:
    """Serve metrics within the block. Yields a function to call with each new status.

    Args:
        listen: HOST:PORT or PORT; None: nothing is served.
        hosts: names under which requests may ask for them, beside that host and this machine's own.

    Raises:
        ConfigError: the address does not exist, or is in use.
    """
    if listen is None:
        yield lambda status: None
        return
    host, port = read_address(listen)
    collector = StatusCollector(program)
    opened = _listen(listen, host, port)
    server = _make_server(collector, host, hosts)
    thread = Thread(target=server.run, args=([opened],), name="metrics", daemon=True)

    def note(status: ProgramStatus) -> None:
        collector.status = status

    with _debugging():
        thread.start()
        try:
            yield note
        finally:
            server.should_exit = True
            thread.join(_STOP_S)
            opened.close()


def _listen(listen: str, host: str, port: int) -> socket.socket:
    from assay.network.web.http_server import open_socket

    try:
        return open_socket(host, port)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "it is not a name"
        raise ConfigError(
            f"--metrics {listen}: cannot listen there ({why}): name another port"
        ) from None


def _make_server(collector: StatusCollector, host: str, hosts: Sequence[str]) -> "Server":
    from starlette.applications import Starlette
    from starlette.routing import Mount

    from assay.network.web.guard import Guard
    from assay.network.web.http_server import ServerLimits, list_hosts, make_server

    registry = CollectorRegistry()
    registry.register(collector)
    for make in (ProcessCollector, PlatformCollector, GCCollector):
        make(registry=registry)
    app = Guard(
        Starlette(routes=[Mount("/", make_asgi_app(registry))]),
        list_hosts(host, hosts),
        advice="add it to hosts under [metrics]",
    )
    patience = ServerLimits(_CONNECTIONS, _PER_CLIENT, _REQUEST_S, _ANSWER_S)
    return make_server(app, patience, lines=None)


def read_address(text: str) -> tuple[str, int]:
    """Host and port of an address. A port alone means this machine only."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigError(
            f"--metrics {text!r} is not an address: write HOST:PORT, such as {_LOOPBACK}:9464"
        )
    return host or _LOOPBACK, int(port)
