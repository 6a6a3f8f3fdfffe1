"""Sessions: what is kept of a login with Keycloak (its tokens, sealed), and how it ends with ours.

Imports ``protocol`` and what is below it, the extension and the core; no other package of the
adapter. Others use :class:`SessionTokens`, :class:`SessionRoles` and :class:`LogoutSync`, and the
parts that these are made of.
"""

from __future__ import annotations

from . import labels as labels
from .arrival import Arrival as Arrival
from .arrival import PendingLogin as PendingLogin
from .arrival import arrive as arrive
from .arrival import begin as begin
from .carried import CarriedTokens as CarriedTokens
from .companion import CompanionCookie as CompanionCookie
from .labels import Keys as Keys
from .logout_sync import LogoutSync as LogoutSync
from .refresher import TokenRefresher as TokenRefresher
from .request_state import request_state as request_state
from .request_state import state_in as state_in
from .roles import SessionRoles as SessionRoles
from .sealing import Sealer as Sealer
from .token_store import ProviderTokens as ProviderTokens
from .token_store import ProviderTokenStore as ProviderTokenStore
from .tokens import SessionTokens as SessionTokens
