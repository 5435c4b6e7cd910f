"""The trainer: judges all it learns from, learns, publishes, and how good a model is."""
