"""Rows of data that people bring, as examples and pairs.

Start with `reader`. A row becomes a dialogue (`dialogues`), and a dialogue what the model's own
chat template writes of it (`writing`). Nothing of a row is dropped unsaid: what cannot be learned
is left out with a reason, and what is not read is counted by its key. `first` is the reader of
records of before.
"""
