"""The trainer: judges submissions, learns from them, publishes the next checkpoint.

`trainer.py` is the loop's step; `trainer_course.py` is where it begins and what it keeps, in
`trainer_folder.py`; `lessons.py` turns a window's accepted groups into a lesson. `held_out.py`
tries each checkpoint on problems that nobody was asked, `monitor.py` watches whether reward and
held-out success part ways. `background_judge.py` has workers judge while it learns. It believes
nothing that a file says: rewards and log-probabilities are its own pass's. Start with `trainer.py`.
"""

__all__ = ["background_judge", "held_out", "lessons", "monitor", "trainer", "trainer_setup"]
