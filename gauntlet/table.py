"""The gauntlet's rows, in the order of the table."""

from assay.gauntlet import calendar as calendar
from assay.gauntlet import drafting as drafting
from assay.gauntlet import forging as files
from assay.gauntlet import ties as ties
from assay.gauntlet.strategy import Strategy

LEGAL: tuple[type[Strategy], ...] = (
    drafting.Honest,
    drafting.DraftInt8,
    drafting.DraftSmaller,
    drafting.Speculative,
)
CHOOSING: tuple[type[Strategy], ...] = (
    drafting.BestOfSeedsMiner,
    drafting.RejectAndResample,
    drafting.OtherSeed,
    files.Grinding,
    drafting.Temperature98,
    drafting.Temperature90,
    drafting.Temperature70,
    drafting.Greedy,
    drafting.TopK,
    drafting.TopP95,
    drafting.TopP99,
    ties.SteeredTies,
    ties.SteeredWithinCap,
    ties.CraftedAtTheCap,
)
NOT_WORKING: tuple[type[Strategy], ...] = (
    drafting.Bf16Unverified,
    drafting.Int8Weights,
    drafting.CheapModelMiner,
    drafting.SmallerModel,
    drafting.SiblingCheckpoint,
    drafting.ForeignModel,
    drafting.StaleCheckpoint,
    files.PrefillOnly,
    files.AlteredPrompt,
    files.Splice1,
    files.Splice8,
    files.Splice16,
    files.Splice32,
    files.Truncated,
    files.ForcedEnd,
    files.Padded,
    files.SkippedEnd,
    files.CopiedFromAnother,
    files.ReplayedFromAnotherWindow,
    files.FabricatedLogprobs,
    files.ConstantSketch,
    files.ZeroSketch,
    files.RandomSketch,
    files.ShuffledSketch,
    files.CopiedSketch,
    files.FakingMiner,
    files.FakingHalf,
    files.JunkAppended,
    calendar.HidesAfterTheAudit,
    calendar.GarblesAfterTheAudit,
)
#: Those that act on chain state, on the calendar or on what is served: whole miners beside a whole
#: validator.
CALENDAR: tuple[type[Strategy], ...] = (
    drafting.Honest,
    calendar.HidesAfterTheAudit,
    calendar.GarblesAfterTheAudit,
    calendar.UploadsOnlyTheAudited,
    calendar.OverwritesTheCommitment,
    calendar.RegistersAfterTheChallenge,
    calendar.SwapsAfterTheChallenge,
    calendar.SwapsAfterBeingCaught,
)
STRATEGIES = LEGAL + CHOOSING + NOT_WORKING
