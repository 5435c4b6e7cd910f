"""Text and token ids: a checkpoint's files turn a prompt into ids and a completion into text.

Start with `folder_tokenizer`. The chat template behind it turns a problem into the prompt that a
model was trained to answer. This folder never runs a model, and the files give everybody the same
ids, whatever a trainer has written into them.
"""

__all__ = ["folder_tokenizer"]
