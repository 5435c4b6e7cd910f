"""The miner: generates, packs, uploads, commits, and judges its own windows afterwards.

`miner.py` is the loop's step. What it makes is on disk group by group (`work_database.py`), goes up
in a thread (`uploads.py`), and its commitment is brought to the chain before the window's block
(`commitment_delivery.py`). `review.py` judges each window as validators will; `mining_history.py`
keeps what came of it. It never says what it was not asked for: problems, seeds and tokens follow
from the challenge. Start with `miner.py`.
"""

__all__ = ["miner", "mining_history", "review", "work_database"]
