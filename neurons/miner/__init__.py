"""The miner: generates, packs, uploads and commits, and afterwards judges its own windows.

`program.py` puts the program together, and `miner.py` is the loop's step. Each group is on disk as
soon as it is made (`work_database.py`), a thread uploads the file (`uploads.py`), and the
commitment reaches the chain before the window's block (`commitment_delivery.py`). `review.py`
judges each window as validators will, for the history in `artifacts`. `dry_run.py` measures mining
without sending anything. The miner never chooses its work: problems, seeds and tokens follow from
the challenge. Start with `program.py`.
"""

__all__ = ["dry_run", "miner", "program", "review", "work_database"]
