"""What a subnet's owner does: choose parameters, make the first checkpoint, publish.

`presets` has rules that fit together, main network's and demo's, and changes to them;
`genesis_checkpoint` turns a model into checkpoint 0; `publishing` puts parameters and checkpoint
where everybody finds them. Nothing here runs after the subnet has begun, or knows a development
chain. Start with `publishing.publish_subnet`.
"""

__all__ = ["genesis_checkpoint", "presets", "publishing"]
