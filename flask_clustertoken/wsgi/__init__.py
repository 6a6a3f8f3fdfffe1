"""WSGI: a token in, a cookie out.

Imports the authority and what is below it, and no Flask. Others use
:class:`ClusterTokenMiddleware`, and :class:`RequestToken`, the request's token, which it puts
into the environ.
"""

from __future__ import annotations

from .cookies import Cookie as Cookie
from .credentials import CROSS_ORIGIN as CROSS_ORIGIN
from .credentials import was_not_asked as was_not_asked
from .device import device_of as device_of
from .gate import BearerVerifier as BearerVerifier
from .gate import Gate as Gate
from .middleware import ClusterTokenMiddleware as ClusterTokenMiddleware
from .origin import SAFE_METHODS as SAFE_METHODS
from .origin import whence as whence
from .request_token import ENVIRON_KEY as ENVIRON_KEY
from .request_token import RequestToken as RequestToken
