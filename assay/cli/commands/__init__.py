"""The commands, a file for each subject. Each is one function: options, checks, then the work.

A command's parameters are its own options, and `offers` names the settings that are options, too.
Its body checks what needs no heavy library, says what it waits for (`starting`), and only then
imports what does the work. So no file here imports anything heavy at its top. Start with `mine.py`.
"""
