"""What `bench accuracy` does where nothing is said; known without what it measures."""

from __future__ import annotations

from typing import Any

from keras_int8nmt.storage.recognition import recognise

# In the working directory.
STATE_FOLDER = "bench-accuracy"
# Models that are no folders; `models.MODELS` loads them.
NAMED = ("builtin", "hard")


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options, if every model is one of `NAMED` or the folder of one.

    Raises:
        ModelFolderError: for another one.
    """
    for text in options.get("models", ()):
        place = text.partition("@")[0]
        if place not in NAMED:
            recognise(place)
    return options
