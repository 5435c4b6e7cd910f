"""Every known way to work or to cheat, played against the validators' own judge.

`strategy` is the base of all strategies. They are in files named by their target:
`sampling_attacks` (how tokens are drawn), `content_attacks` (the submitted content), `tie_attacks`
(near ties), `episode_attacks` (rollouts of several turns, which `forged_episodes` forges for any
model), `chain_attacks` (chain, calendar, served bytes). `table` lists them in the order of the
printed table. `attack_setup` judges groups in memory, `chain_setup` plays whole miners beside a
whole validator, and `measuring` turns both into rows. Nothing here runs on a real network. Start
with `measuring.run_family`.
"""

__all__ = [
    "attack_setup",
    "bench_models",
    "chain_setup",
    "content_attacks",
    "episode_attacks",
    "forged_episodes",
    "measuring",
    "sampling_attacks",
    "strategy",
    "table",
]
