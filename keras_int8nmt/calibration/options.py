"""What `calibrate` may be asked for; known without Keras, so that it is checked first."""

from __future__ import annotations

# What the decoder is fed.
FEEDS = ("targets", "greedy", "beam")
# Live hypotheses a sentence of the feed "beam".
DEFAULT_BEAM = 4
# How much of the range of values `balance` moves into the weights.
DEFAULT_ALPHA = 0.5


def check_feed(feed: str | None, has_targets: bool, beam_size: int = DEFAULT_BEAM) -> str:
    """The feed that is asked for, or the one that goes without saying; ValueError if impossible."""
    if feed is None:
        return "targets" if has_targets else "greedy"
    if feed not in FEEDS:
        raise ValueError(f"`feed` must be one of {', '.join(FEEDS)}; received {feed!r}.")
    if has_targets != (feed == "targets"):
        are = "are given" if has_targets else "are missing"
        raise ValueError(f"The feed is {feed!r}, but targets {are}.")
    if feed == "beam" and (type(beam_size) is not int or beam_size < 1):
        raise ValueError(f"`beam_size` must be a whole number of at least 1; it is {beam_size!r}.")
    return feed
