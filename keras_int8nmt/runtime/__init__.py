"""A model spec and token ids in, hypotheses out: NumPy and the native library, nothing else."""
