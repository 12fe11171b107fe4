"""The service of the models in $MODELS, for gunicorn; see gunicorn.conf.py."""

import os

from keras_int8nmt.serving import create_app

workers = int(os.environ.get("WORKERS", "2"))
threads = max(1, len(os.sched_getaffinity(0)) // workers)
app = create_app(os.environ["MODELS"].split(), streams=threads)
