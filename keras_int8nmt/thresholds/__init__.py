"""Histogram in, thresholds out (arXiv 1906.00532, section 4); NumPy alone."""
