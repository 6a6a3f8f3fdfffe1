"""Gateway: the same logins for what is not Python, asked over HTTP.

A WSGI app of its own: ``/auth`` for reverse proxies, ``/introspect``, ``/revoke`` and
``/global-token-revocation`` for services. Imports the WSGI room and what is below it, and no
Flask. Others use :func:`create_app`.
"""

from __future__ import annotations

from .app import Gateway as Gateway
from .app import create_app as create_app
from .options import GatewayOptions as GatewayOptions
