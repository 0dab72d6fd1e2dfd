"""Benchmarks: each measures its ratios within one run and says whether its target is met."""
