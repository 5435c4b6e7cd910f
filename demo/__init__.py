"""The whole loop in one process, on a development chain."""
