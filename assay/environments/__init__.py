"""Makes problems and scores answers to them.

An environment turns a 32-byte seed into a problem, and a completion into integer reward parts.
Every result is a function of its arguments: no clock, no floats, no solver's opinion. A digest
names each file, and foreign code runs in a sandbox. An environment takes one answer form, refuses
the rest, and needs time linear in the text, whatever the text is. It never runs a model, talks to a
network or learns whose answer it scores. Start with `base`, then `arithmetic`, the simplest
environment. `kind` is what a
module declares of its environment, `registry` makes one by name, and `listing` describes all of
them to a person.
"""
