"""Serving HTTP to strangers: who may ask, how much, for how long."""

from assay.network.web.guard import Guard, get_network

__all__ = ["Guard", "get_network"]
