"""The validator: judges, remembers, settles, and sends weights that are never lost or doubled."""
