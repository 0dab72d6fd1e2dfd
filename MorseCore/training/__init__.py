"""Training: data sets, augmentation, the step, the loop, checkpoints, export of a model."""
