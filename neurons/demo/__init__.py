"""The whole loop in one process, on embedded parts."""
