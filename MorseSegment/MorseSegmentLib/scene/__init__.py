"""What is in the scene: a result, its masks, its points. No Qt."""
