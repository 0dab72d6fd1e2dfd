"""Research tools: studies of the methods, and benchmarks of the programs."""
