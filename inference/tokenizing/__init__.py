"""Text and token ids: what a checkpoint's files make of a prompt, and of a completion.

Start with `folder_tokenizer`; the chat template behind it makes a problem the prompt that a model
was trained to answer. This folder never runs a model, and whatever a trainer has written into the
files gives everybody the same ids.
"""

__all__ = ["folder_tokenizer"]
