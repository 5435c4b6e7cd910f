"""Assay's keyed draw as a logits processor of vLLM: `assay_vllm.processor`.

A request names its rollout, and every token of it is then drawn as the specification says (section
3), on the engine's own logits. Requests that name none are served as ever.
"""
