"""Contests: compare checkpoints on the same held-out problems, for evaluation and preference data.

`answers` draws each contestant's answers and scores them, and `folder` stores them,
so that a contest can be resumed. `chat_judge` asks a language model about two answers, and
`judged_pairs` does so in both orders for all pairs on which the scorer does not decide. `sign_test`
and `ranking` say which checkpoint is better, and `preference_pairs` writes the preferences. Nothing
here is paid for: no verdict, weight or step of the subnet depends on it. Start with
`play.play`.
"""

__all__ = ["answers", "chat_judge", "folder", "play", "ranking", "run"]
