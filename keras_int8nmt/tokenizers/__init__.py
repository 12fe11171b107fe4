"""Text to token ids and back; the run side's, without Keras and TensorFlow."""
