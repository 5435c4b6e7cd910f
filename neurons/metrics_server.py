"""Serves a running program's figures to Prometheus, over HTTP on this machine."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socket import AF_INET6
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from assay.neurons.config import ConfigError
from assay.neurons.metrics import COMMON, OWN, Kind

#: Where a port alone is served.
_LOOPBACK = "127.0.0.1"
#: Seconds that a request may take to come, and the server to end.
_REQUEST_S, _STOP_S = 10.0, 2.0


class StatusCollector(Collector):
    """The table's figures of the status seen last.

    Attributes:
        status: None before the first: then there are no figures.
    """

    def __init__(self, program: str) -> None:
        self.status: dict[str, Any] | None = None
        self._metrics = (*COMMON, *OWN[program])

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """See `Collector`."""
        status = self.status
        if status is None:
            return
        for metric in self._metrics:
            kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for key, figure in metric.read(status).items():
                values = key if isinstance(key, tuple) else (key,)
                family.add_metric(values[: len(metric.labels)], figure)
            yield family


class _Request(WSGIRequestHandler):
    """Says nothing, and waits for nobody long."""

    timeout = _REQUEST_S

    def log_message(self, format: str, *args: Any) -> None:
        """Who looks is no news."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = AF_INET6


@contextmanager
def serve_metrics(listen: str | None, program: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Serves figures for as long as it lasts; gives what is to be called with each new status.

    Args:
        listen: HOST:PORT or PORT; None: nothing is served.

    Raises:
        ConfigError: no such address, or it is taken.
    """
    if listen is None:
        yield lambda status: None
        return
    host, port = read_address(listen)
    collector, registry = StatusCollector(program), CollectorRegistry()
    registry.register(collector)
    for make in (ProcessCollector, PlatformCollector, GCCollector):
        make(registry=registry)
    serve = _Server6 if ":" in host else _Server
    try:
        server = make_server(host, port, make_wsgi_app(registry), serve, _Request)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"--metrics {listen}: cannot listen there ({why}): name another port"
        ) from None
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()

    def note(status: dict[str, Any]) -> None:
        collector.status = status

    try:
        yield note
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_STOP_S)


def read_address(text: str) -> tuple[str, int]:
    """Host and port; a port alone is on this machine only.

    Raises:
        ConfigError: it is neither.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigError(
            f"--metrics {text!r} is no address: write HOST:PORT, such as {_LOOPBACK}:9464"
        )
    return host or _LOOPBACK, int(port)
