"""`bench corpus`: sorting, streams, files end to end and memory over a million lines."""
