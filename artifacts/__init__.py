"""What programs leave for each other and fetch by digest.

`submissions` is a miner's file and the way from a commitment to a verdict; `checkpoints` are model
folders, published, fetched and opened by digest; `parameters` are a network's rules;
`parquet` parses strangers' bytes in a cage. Nobody who keeps a copy is trusted: bytes count where
they match what stands on chain. This room never decides what a neuron does next.
"""

from assay.artifacts.submissions import write_submission

__all__ = ["write_submission"]
