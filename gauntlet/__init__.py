"""Every known way to work or cheat, played against the validators' own judge."""
