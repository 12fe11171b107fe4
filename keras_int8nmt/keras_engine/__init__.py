"""The Keras engine: the search in TensorFlow's loop over a model's own layers; the reference."""
