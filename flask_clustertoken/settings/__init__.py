"""Settings: what can be set, frozen and checked, with the limits that hold whatever is set.

Imports only ground. Others use :class:`Settings`, and ``PREFIX`` where a setting is named.
"""

from __future__ import annotations

from .cookie import CookieAttributes as CookieAttributes
from .cookie import SameSite as SameSite
from .environment import from_environment as from_environment
from .environment import variables as variables
from .keytexts import LENGTH_LEAST as LENGTH_LEAST
from .keytexts import is_writable as is_writable
from .limits import RECORD_CACHE_LIMIT as RECORD_CACHE_LIMIT
from .limits import STALENESS_LIMIT as STALENESS_LIMIT
from .limits import VALUE_LIMIT as VALUE_LIMIT
from .settings import PREFIX as PREFIX
from .settings import TOKEN_CACHE as TOKEN_CACHE
from .settings import Settings as Settings
from .settings import TokenStore as TokenStore
from .urls import plain_url as plain_url
