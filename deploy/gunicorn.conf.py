"""The service under gunicorn: models are loaded once, and workers forked that share them.

    MODELS=en-de=models/en-de-int8 gunicorn -c deploy/gunicorn.conf.py

Needs the extra `serve`, gunicorn and uvicorn-worker. A name of a folder in $MODELS begins with a
slash, or at the folder of this file.
"""

import os

from uvicorn_worker import UvicornWorker

from keras_int8nmt.serving.connections import bounded_protocol

chdir = os.path.dirname(os.path.abspath(__file__))
wsgi_app = "gunicorn_app:app"
preload_app = True
bind = os.environ.get("BIND", "127.0.0.1:5000")
workers = int(os.environ.get("WORKERS", "2"))
# Of a worker at a time; uvicorn's own worker takes any number.
worker_connections = 8192


class Worker(UvicornWorker):
    CONFIG_KWARGS = {**UvicornWorker.CONFIG_KWARGS, "http": bounded_protocol(worker_connections)}


worker_class = Worker
# What was accepted is finished after SIGTERM.
graceful_timeout = 130
# Longer than a load balancer keeps a connection that nobody uses: one of ours that it closes is not
# closed as a request is on its way.
keepalive = 75
# A worker is alive as long as its loop answers, whatever its decoder is at.
timeout = 60


def post_fork(server, worker):
    """Gives each worker cores of its own: the decoder pins its threads to the first it has."""
    cores = sorted(os.sched_getaffinity(0))
    threads = max(1, len(cores) // workers)
    first = (worker.age - 1) % workers * threads
    os.sched_setaffinity(0, {cores[(first + i) % len(cores)] for i in range(threads)})
