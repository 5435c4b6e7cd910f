"""Errors for people."""


class OperatorError(Exception):
    """Something that whoever runs the program can mend: what was wrong, where, and what to do."""
