"""Whole subnets on one machine, to try, to attack and to compare.

`demo` plays the loop, with cheats, in one process. `localnet` serves a chain, a beacon and a store
to programs that run beside it. `gauntlet` measures what each strategy earns. `contests` compares
two models. `simulator` is a chain in memory. Start with `demo.run`. Nothing that runs on a real
network imports this package.
"""
