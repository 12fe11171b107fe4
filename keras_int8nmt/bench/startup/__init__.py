"""`bench startup`: fresh processes that translate one sentence, and loads in one process."""
