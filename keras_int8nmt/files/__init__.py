"""Lines in and out: files of any size, formats, compression, resumable outputs."""

# Lines that are sorted together. More would hardly pad less, and wait longer for the first.
# Here, since the translator needs nothing else of this room.
WINDOW = 2048
