"""The gauntlet's rows, in the order of the table."""

from assay.lab.gauntlet import (
    chain_attacks,
    content_attacks,
    episode_attacks,
    sampling_attacks,
    tie_attacks,
)
from assay.lab.gauntlet.strategy import Strategy

LEGAL: tuple[type[Strategy], ...] = (
    sampling_attacks.Honest,
    sampling_attacks.DraftInt8,
    sampling_attacks.DraftSmaller,
    sampling_attacks.Speculative,
)
CHOOSING: tuple[type[Strategy], ...] = (
    sampling_attacks.BestOfSeedsMiner,
    sampling_attacks.RejectAndResample,
    sampling_attacks.OtherSeed,
    content_attacks.Grinding,
    sampling_attacks.Temperature98,
    sampling_attacks.Temperature90,
    sampling_attacks.Temperature70,
    sampling_attacks.Greedy,
    sampling_attacks.TopK,
    sampling_attacks.TopP95,
    sampling_attacks.TopP99,
    tie_attacks.SteeredTies,
    tie_attacks.SteeredWithinCap,
    tie_attacks.CraftedAtTheCap,
)
NOT_WORKING: tuple[type[Strategy], ...] = (
    sampling_attacks.Bf16Unverified,
    sampling_attacks.Int8Weights,
    sampling_attacks.CheapModelMiner,
    sampling_attacks.SmallerModel,
    sampling_attacks.SiblingCheckpoint,
    sampling_attacks.ForeignModel,
    sampling_attacks.StaleCheckpoint,
    content_attacks.PrefillOnly,
    content_attacks.AlteredPrompt,
    content_attacks.Splice1,
    content_attacks.Splice8,
    content_attacks.Splice16,
    content_attacks.Splice32,
    content_attacks.Truncated,
    content_attacks.ForcedEnd,
    content_attacks.StragglersDropped,
    content_attacks.Padded,
    content_attacks.SkippedEnd,
    content_attacks.CopiedFromAnother,
    content_attacks.ReplayedFromAnotherWindow,
    content_attacks.FabricatedLogprobs,
    content_attacks.ConstantSketch,
    content_attacks.ZeroSketch,
    content_attacks.RandomSketch,
    content_attacks.ShuffledSketch,
    content_attacks.CopiedSketch,
    content_attacks.FakingMiner,
    content_attacks.FakingHalf,
    content_attacks.JunkAppended,
    chain_attacks.HidesAfterTheAudit,
    chain_attacks.GarblesAfterTheAudit,
)
#: Strategies that act on chain state, on the calendar or on served bytes: whole miners beside a
#: whole validator.
CALENDAR: tuple[type[Strategy], ...] = (
    sampling_attacks.Honest,
    chain_attacks.HidesAfterTheAudit,
    chain_attacks.GarblesAfterTheAudit,
    chain_attacks.UploadsOnlyTheAudited,
    chain_attacks.OverwritesTheCommitment,
    chain_attacks.RegistersAfterTheChallenge,
    chain_attacks.SwapsAfterTheChallenge,
    chain_attacks.SwapsAfterBeingCaught,
)
#: What is played over several settlements.
RESTING: tuple[type[Strategy], ...] = (chain_attacks.RestsOnItsPay,)
STRATEGIES = LEGAL + CHOOSING + NOT_WORKING + episode_attacks.FORGED_EPISODES
