"""The miner: generates, packs, uploads and commits, and afterwards judges its own windows.

`miner.py` is the loop's step. Each group is on disk as soon as it is made (`work_database.py`), a
thread uploads the file (`uploads.py`), and the commitment reaches the chain before the window's
block (`commitment_delivery.py`). `review.py` judges each window as validators will, and
`history.py` stores the results. The miner never chooses its work: problems, seeds and tokens
follow from the challenge. Start with `miner.py`.
"""

__all__ = ["dry_run", "history", "miner", "review", "work_database"]
