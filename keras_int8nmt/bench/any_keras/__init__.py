"""`bench keras`: models as people write them, through `quantize_model` and `convert`, unchanged."""
