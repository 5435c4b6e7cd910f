"""Errors for people."""


class OperatorError(Exception):
    """An error that the operator can fix. It says what is wrong, where, and what to do."""
