"""The frozen layers that conversion makes; inference only, on TensorFlow."""
