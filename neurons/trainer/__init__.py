"""The trainer: judges submissions, learns from them, publishes the next checkpoint.

`program.py` puts the program together, and `trainer.py` is the loop's step, through the stages of
`stages.py`. `course.py` says where the trainer begins, and keeps its progress in `folder.py`.
`window_judging.py` opens a window and has its files judged (`lessons.py`), `choosing.py` plans the
step, `step_maker.py` makes it, and `reports.py` tells of it. `monitor.py` watches whether reward
and held-out success diverge. `tracking.py` passes figures on to wandb. `background_judge.py` lets
workers judge while the trainer learns. The trainer trusts nothing in a miner's file: rewards and
log-probabilities come from its own pass. Start with `program.py`.
"""

__all__ = ["background_judge", "lessons", "monitor", "program", "setup", "stages", "trainer"]
