"""A whole subnet on one machine, for development: chain, beacon and store as services."""
