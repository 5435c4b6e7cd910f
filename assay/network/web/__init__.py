"""Serves HTTP to strangers, and limits each client's requests, bytes and time.

Nothing here knows a page, and nothing reads a file or the chain. `guard.py` counts the requests of
a network of clients. `http_server.py` serves an application on one port, with deadlines for each
client. Start at `make_server` in `http_server`. This package does not import it: counting clients
needs no server.
"""

from assay.network.web.guard import Guard, get_network

__all__ = ["Guard", "get_network"]
