"""Tables of trainings: what to run, running it, and what came out."""
