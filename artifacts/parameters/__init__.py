"""A network's parameters: published by the owner, found by everybody."""
