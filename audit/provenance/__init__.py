"""Whose data a training step learned from, held against what stood on chain and in stores.

`step_provenance` goes through a step's groups, miner by miner; `step_submissions` reads and judges
the files that they lead to. Whether the data make the checkpoint is not asked here: re-execution
(`assay.neurons.trainer.reexecution`) shows that. Start at `step_provenance.check_provenance`.
"""

__all__ = ["reexecution", "step_export", "step_provenance", "step_submissions"]
