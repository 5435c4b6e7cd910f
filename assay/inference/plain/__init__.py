"""The plain path: models of types that no family describes, read by their own class of
transformers, one sequence a pass, nothing packed.

A family (`assay.inference.families`) is only a fast path. Any other causal type opens here if its
class is a continuous function of its tokens whose head is known, and probes on the model itself
say so. What a network fixes of such a model is in its parameters (`ModelClass`).

`assay.inference.plain_config` reads a config.json. Start with `opening`, which builds the class in
a child process without values. `states` runs the class, `head` finds what it does behind its output
matrix. `tracing` and `assay.inference.plain_probes` decide whether it may be measured. No code of a
folder ever runs.
"""

__all__ = ["head", "opening", "states", "tracing"]
