"""Modules of ours in the image of reasoning-gym. Nothing imports them here: they are read as text.

`assay_gym` answers requests. The others stand in for packages that cannot be there, as far as the
datasets need them.
"""
