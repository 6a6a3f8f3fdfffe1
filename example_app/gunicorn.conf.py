# How gunicorn runs the example:
#
#     gunicorn --config example_app/gunicorn.conf.py 'example_app:create_app()'

import os

from example_app import environment

# Each worker takes up the feed before its first request, and leaves the list when it goes.
from flask_clustertoken.gunicorn import post_worker_init, worker_exit  # noqa: F401

bind = f"127.0.0.1:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WORKERS") or os.environ.get("WEB_CONCURRENCY") or 4)
accesslog = None

# One file in the home folder, which several gunicorns would share.
control_socket_disable = True

with environment.one_line_errors():
    environment.check()
