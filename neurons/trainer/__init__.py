"""The trainer: judges submissions, learns from them, publishes the next checkpoint.

`program.py` puts the program together, and `trainer.py` is the loop's step. `course.py` says where
the trainer begins, and keeps its progress in `folder.py`. `lessons.py` turns a window's accepted
groups into a lesson. `monitor.py` watches whether reward and held-out success diverge.
`tracking.py` passes figures on to wandb. `background_judge.py` lets workers judge while
the trainer learns. The trainer trusts nothing in a miner's file: rewards and log-probabilities come
from its own pass. Start with `program.py`.
"""

__all__ = ["background_judge", "lessons", "monitor", "program", "setup", "trainer"]
