"""What `bench accuracy` does where nothing is said; known without what it measures."""

from __future__ import annotations

# In the working directory.
STATE_FOLDER = "bench-accuracy"
