"""Which method keeps how much of a model's BLEU; `keras-int8nmt bench accuracy`."""
