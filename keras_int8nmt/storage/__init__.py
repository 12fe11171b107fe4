"""Model folders, SavedModels and the built-in model."""
