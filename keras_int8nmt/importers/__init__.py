"""Foreign checkpoints and models, one file a format."""
