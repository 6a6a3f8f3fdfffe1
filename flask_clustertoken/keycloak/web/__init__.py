"""Web: the adapter's addresses, what is done around each request, and whose bearers are believed.

Imports ``state`` and every other package of the adapter, the extension and Flask. Others use
``make_blueprint`` and what else ``adapter`` hangs on an app, and ``logout_response``.
"""

from __future__ import annotations

from .bearer import bearer_verifier as bearer_verifier
from .hooks import RequestHooks as RequestHooks
from .logout import logout_response as logout_response
from .refusals import RefusalAnswers as RefusalAnswers
from .routes import exempt_from_csrf as exempt_from_csrf
from .views import make_blueprint as make_blueprint
