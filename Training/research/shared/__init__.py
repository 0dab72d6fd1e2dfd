"""What all studies and benchmarks share: identity, data, scores by subject, output."""
