"""Lines in and out: files of any size, formats, compression, resumable outputs."""
