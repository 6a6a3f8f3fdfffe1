"""The example: a small site that logs people in, under any number of gunicorn workers.

::

    gunicorn --config example_app/gunicorn.conf.py 'example_app:create_app()'

Its parts: :mod:`.environment` reads the settings, :mod:`.sessions` logs in and out,
:mod:`.pages` is for people, :mod:`.api` for programs, :mod:`.health` for whoever watches, and
:mod:`.plain_wsgi` does the same without Flask.
"""

from __future__ import annotations

from .factory import create_app as create_app
