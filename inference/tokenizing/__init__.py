"""Text and token ids: `folder_tokenizer` turns one into the other as a checkpoint's files have it,
`chat_template` makes a problem the prompt that the model was trained to answer. Nothing here runs
a model.
"""

__all__ = ["chat_template", "folder_tokenizer"]
