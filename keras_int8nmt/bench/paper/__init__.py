"""`bench paper`: the comparisons of arXiv 1906.00532 on this machine."""
