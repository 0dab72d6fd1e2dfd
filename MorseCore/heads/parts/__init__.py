"""What heads are made of: experts, encodings, sources of features, base classes."""
