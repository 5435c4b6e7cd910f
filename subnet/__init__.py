"""What a subnet's owner does: choose parameters, make the first checkpoint, found, publish.

`presets` has rules that fit together, main network's and demo's, and changes to them;
`genesis_checkpoint` turns a model into checkpoint 0; `publishing` puts parameters and checkpoint
where everybody finds them; `founding` buys a subnet on a development chain. Nothing here runs
after the subnet has begun. Start with `publishing.publish_subnet`.
"""

__all__ = ["founding", "genesis_checkpoint", "presets", "publishing"]
