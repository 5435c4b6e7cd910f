"""Which reasons can be shown to be right or wrong afterwards, and by what."""

from assay.protocol.reason import CHEATING, WITHHELD, Reason

#: Reasons that the chain alone decides.
BY_CHAIN = frozenset({Reason.NOT_REGISTERED, Reason.NO_COMMITMENT})
#: Reasons that apply before a file's bytes are bound by the root on chain.
UNBOUND = WITHHELD - {Reason.TOO_LARGE, Reason.WRONG_CHECKPOINT}
#: Reasons that the model alone decides.
BY_MODEL = CHEATING - {Reason.TOKEN_OUT_OF_RANGE, Reason.WRONG_TERMINATION}
#: Results of the samples, or their beacon, of a file whose audit found no fault; a witness shows
#: that it was audited.
BY_SAMPLES = (WITHHELD - {Reason.WRONG_CHECKPOINT}) | {Reason.INTERNAL, None}
