"""What a user can mend."""


class BenchError(ValueError):
    """What was asked of a benchmark can't be done; the message says why."""
