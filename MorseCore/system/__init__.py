"""The machine: files, devices, memory, signals, seeds, time."""
