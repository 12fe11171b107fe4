"""What `bench corpus` may be asked for; known without what it measures."""

from __future__ import annotations

PARTS = ("sorting", "streams", "files", "memory")
# Of the long file whose memory is watched.
LINES = 1_000_000
