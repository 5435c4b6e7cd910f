"""The work of a subnet's owner: choose parameters, make the first checkpoint, publish, amend.

`presets` has parameters that fit together, the main network's and the demo's, and changes to them.
`genesis_checkpoint` turns a model into checkpoint 0. `publishing` puts parameters and checkpoint
where everybody finds them. `amending` makes parameters that follow those in force. Nothing here
runs beside a subnet, or knows a development chain. Start with `publishing.publish_subnet`.
"""

__all__ = ["amending", "genesis_checkpoint", "presets", "publishing", "recipe", "window_costs"]
