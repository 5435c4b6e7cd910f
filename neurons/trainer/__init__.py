"""The trainer: judges submissions, learns from them, publishes the next checkpoint.

`trainer.py` is the loop's step. `trainer_course.py` says where the trainer begins, and keeps its
progress in `trainer_folder.py`. `lessons.py` turns a window's accepted groups into a lesson.
`monitor.py` watches whether reward and held-out success diverge. `background_judge.py` lets workers
judge while the trainer learns. The trainer trusts nothing in a miner's file: rewards and
log-probabilities come from its own pass. Start with `trainer.py`.
"""

__all__ = ["background_judge", "lessons", "monitor", "trainer", "trainer_setup"]
