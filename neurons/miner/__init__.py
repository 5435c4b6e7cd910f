"""The miner: generates, keeps, commits, and looks at its own windows as validators will."""
