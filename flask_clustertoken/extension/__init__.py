"""The Flask extension: the first floor that knows Flask. It holds no security logic."""

from __future__ import annotations

from .clustertoken import ClusterToken as ClusterToken
from .decorators import fresh_login_required as fresh_login_required
from .decorators import require_token as require_token
from .decorators import token_policy as token_policy
from .decorators import token_required as token_required
from .globals import CurrentToken as CurrentToken
from .globals import current_token as current_token
from .redirects import safe_target as safe_target
