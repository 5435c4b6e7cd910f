"""The trainer: judges what was submitted, learns from it, publishes the next checkpoint.

`trainer.py` is the loop's step; `lessons.py` turns a window's accepted groups into a lesson;
`trainer_folder.py` is what it must not forget. `held_out.py` tries each checkpoint on problems that
nobody was asked, `monitor.py` watches whether reward and held-out success part ways.
`background_judge.py` has workers judge while it learns. `team.py` are the processes beside it. It
believes nothing that a file says: rewards and log-probabilities are its own pass's. Start with
`trainer.py`.
"""

__all__ = ["background_judge", "held_out", "lessons", "monitor", "team", "trainer", "trainer_setup"]
