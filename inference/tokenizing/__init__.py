"""Text and token ids: a checkpoint's files turn a prompt into ids and a completion into text.

Start with `folder_tokenizer`; the chat template behind it makes a problem the prompt that a model
was trained to answer. This folder never runs a model, and whatever a trainer has written into the
files gives everybody the same ids.
"""

__all__ = ["folder_tokenizer"]
