"""Progress bars: on stderr, and silent when that is not a terminal."""

from __future__ import annotations

from tqdm import tqdm


def progress_bar(total: int | None, description: str, enabled: bool = True) -> tqdm:
    """A bar for `total` steps; a context manager, moved by its method `update`."""
    # None: tqdm looks whether stderr is a terminal.
    return tqdm(total=total, desc=description, disable=None if enabled else True, leave=False)


def byte_bar(total: int | None, description: str, initial: int = 0, enabled: bool = True) -> tqdm:
    """A bar for bytes of a file, which begins at `initial` of them."""
    return tqdm(
        total=total,
        initial=initial,
        desc=description,
        disable=None if enabled else True,
        leave=False,
        unit="B",
        unit_scale=True,
    )
