"""Progress bars: on stderr, and silent when that is not a terminal."""

from __future__ import annotations

from typing import Any

import keras
from tqdm import tqdm


def progress_bar(total: int | None, description: str, enabled: bool = True) -> tqdm:
    """A bar for `total` steps; a context manager, moved by its method `update`."""
    # None: tqdm looks whether stderr is a terminal.
    return tqdm(total=total, desc=description, disable=None if enabled else True, leave=False)


class ProgressCallback(keras.callbacks.Callback):
    """Moves a bar with each batch that `evaluate` or `predict` is done with.

    Args:
        bar: A bar of `progress_bar`, counting batches.
    """

    def __init__(self, bar: tqdm) -> None:
        super().__init__()
        self.bar = bar

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.update()

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.bar.update()
