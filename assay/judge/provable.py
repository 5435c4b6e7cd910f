"""Which reasons can be shown to be right or wrong afterwards, and by what."""

from assay.protocol.reason import WITHHELD, Reason

#: Reasons that the chain alone decides.
BY_CHAIN = frozenset({Reason.NOT_REGISTERED, Reason.NO_COMMITMENT})
#: Reasons that apply before a file's bytes are bound by the root on chain.
UNBOUND = WITHHELD - {Reason.TOO_LARGE, Reason.WRONG_CHECKPOINT}
#: Reasons that the model alone decides. All others show without one.
BY_MODEL = frozenset(
    {
        Reason.SKETCH_MISMATCH,
        Reason.LOGPROB_MISMATCH,
        Reason.SAMPLING_MISMATCH,
        Reason.LEDGER_MISMATCH,
    }
)
#: Results of the samples, or their beacon, of a file whose audit found no fault; a witness shows
#: that it was audited.
BY_SAMPLES = (WITHHELD - {Reason.WRONG_CHECKPOINT}) | {Reason.INTERNAL, None}
