"""Traces a training step operator by operator, and finds where two traces begin to differ.

`step_trace` repeats a step and records every operator, or stops at one of them. `operator_modes`
observes operators as they run, and `operator_calls` makes a record of each. `bisection` compares
two traces and says which is right. `operator_rerun` runs an operator as other machines would. The
tree itself is `assay.protocol.trace`, and its files are in `artifacts.steps`. Nothing here decides
anybody's pay. Start at `step_trace.trace_step`.
"""

__all__ = ["bisection", "operator_calls", "step_trace"]
