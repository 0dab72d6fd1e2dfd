"""What was asked of the methods and of the programs: studies, evidence, benchmarks."""
