"""The protocol's rules: pure functions from bytes and integers to values.

This package holds everything that two strangers must compute alike: encodings, hashes, seeds,
beacons, the keyed noise, selections, the canonical bytes of submissions, manifests and contexts. It
never reads a file, a clock, a socket or the environment, and never draws a random number. Start
with `parameters` and `window`, then read `submission` and `context`. `encoding` gives each of them
its canonical bytes.
"""
