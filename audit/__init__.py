"""Auditing: re-deriving from public data what a validator says it did."""
