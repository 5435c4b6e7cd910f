"""Contests: compare checkpoints on the same held-out problems, for evaluation and preference data.

`contest_answers` draws each contestant's answers and scores them, `contest_folder` keeps them, so
that a contest goes on where it was; `chat_judge` asks a language model about two answers, and
`judged_pairs` in both orders about all on which the scorer does not decide; `sign_test` and
`ranking` say who is better, `preference_pairs` writes what was preferred. Nothing here is paid for:
no verdict, weight or lesson of the subnet comes of it. Start with `contest_run.play_contest`.
"""

__all__ = ["chat_judge", "contest_answers", "contest_folder", "contest_run", "ranking"]
