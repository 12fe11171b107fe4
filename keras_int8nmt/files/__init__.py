"""Lines in and out: files of any size, formats, compression, outputs that an interruption can't hurt."""
