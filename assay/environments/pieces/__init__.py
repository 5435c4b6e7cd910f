"""Pieces: small functions with inputs, and the problems that are made of them.

`piece.check_piece` says in the sandbox whether a stranger's text is a piece, and gives its normal
form; everything that reads Python does so inside (`inside`), because two Pythons may read one text
in two ways. `pool` reads pools of them; the first one ships with the package. `deduce`, `abduce`
and `induce` ask for an output, an input and a function; start with `piece_environment`.
"""
