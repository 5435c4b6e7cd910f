"""Traces a training step operator by operator, and finds where two traces begin to differ.

`step_trace` does a step again with every operator written down, or up to one of them;
`operator_modes` sees them as they run, `operator_calls` makes a record of each. `bisection` holds
two traces against each other and says who is right; `operator_rerun` runs an operator as other
machines would. The tree itself is `assay.protocol.trace`, its files are `artifacts.steps`'. Nothing
here decides what anybody is paid. Start at `step_trace.trace_step`.
"""

__all__ = ["bisection", "operator_calls", "step_trace"]
