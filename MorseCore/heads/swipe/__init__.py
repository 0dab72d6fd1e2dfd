"""SwIPE: implicit patch embeddings (MICCAI 2023). One part of the method a file."""
