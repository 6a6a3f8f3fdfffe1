# How gunicorn runs the example:
#
#     gunicorn --config example_keycloak/gunicorn.conf.py 'example_keycloak:create_app()'

# Each worker takes up the feed and registers its host before the first request, and leaves
# cleanly when it goes.
from flask_clustertoken.gunicorn import post_worker_init, worker_exit  # noqa: F401

# Keycloak calls back while a request of ours to it is open: more than one thread each.
worker_class = "gthread"
threads = 4
accesslog = None
