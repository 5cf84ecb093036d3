"""Benchmarks: the cases they share with the tests, the limits of the machine, other packages, and the duel."""
