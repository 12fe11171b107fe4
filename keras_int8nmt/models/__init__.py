"""The float and the INT8 Transformer, their settings, and what the decoders ask of them."""
