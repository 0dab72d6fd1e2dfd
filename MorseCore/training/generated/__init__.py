"""Training images that nobody took: drawn from label maps, of any contrast, at every step anew."""
