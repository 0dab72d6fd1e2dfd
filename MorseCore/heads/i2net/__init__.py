"""I²Net: a network with other parameters at every point (MICCAI 2024). One part of it a file."""
