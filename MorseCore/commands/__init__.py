"""What `python -m MorseCore` does: the command line, batches, output files, the demo."""
