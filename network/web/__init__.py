"""Serves HTTP to strangers, and limits each client's requests, bytes and time.

Nothing here knows a page: `guard.py` counts what a network of clients may take, `http_server.py`
serves an application on one port, with deadlines for each client. Nothing here reads a file or the
chain. Start at `make_server` in `http_server`, which is not imported here: who counts clients needs
no server.
"""

from assay.network.web.guard import Guard, get_network

__all__ = ["Guard", "get_network"]
