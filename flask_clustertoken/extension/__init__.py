"""The Flask extension: tokens for Flask apps, without any security logic of its own.

Imports WSGI and the core; no adapter (but for the commands that ``init_app`` hangs on the app).
Others use :class:`ClusterToken`, ``current_token``, and ``state_of`` where they extend an app.
"""

from __future__ import annotations

from .clients import client_of as client_of
from .clustertoken import ClusterToken as ClusterToken
from .csrf import exempt as exempt
from .decorators import OPEN as OPEN
from .decorators import fresh_login_required as fresh_login_required
from .decorators import require_token as require_token
from .decorators import stands_open as stands_open
from .decorators import token_policy as token_policy
from .decorators import token_required as token_required
from .files import send_shared_file as send_shared_file
from .globals import CurrentToken as CurrentToken
from .globals import current_token as current_token
from .redirects import safe_target as safe_target
from .responses import RETRY_AFTER as RETRY_AFTER
from .responses import AccessLocked as AccessLocked
from .responses import NodeNotFresh as NodeNotFresh
from .responses import NotEnough as NotEnough
from .responses import TokenMissing as TokenMissing
from .responses import TokenRefused as TokenRefused
from .state import AppState as AppState
from .state import current_request_token as current_request_token
from .state import current_state as current_state
from .state import own_request_token as own_request_token
from .state import state_of as state_of
from .streams import CLOSE_CODE as CLOSE_CODE
from .streams import end_event as end_event
from .ways import way_to as way_to
