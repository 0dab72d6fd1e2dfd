"""One run, from a volume in the scene to a result in the scene. No Qt."""
