"""Prompts with instructions that a program checks, and their scoring: `instructions:SHA256`.

Each instruction is a rule about the reply's text: how many words, which ending, no commas. `ifeval`
has those of IFEval, `ifbench` those of IFBench that such a rule can check, and `texts` what they
call a word and a sentence. Nothing here judges what the reply says. Start with `instruction_file`,
which is the environment.
"""

from assay.environments.instructions.instruction_file import InstructionFile

__all__ = ["InstructionFile"]
