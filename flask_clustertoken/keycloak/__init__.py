"""Keycloak: its old adapter's options, over any Keycloak of today. Needs the extra ``keycloak``.

Imports the extension and the core, and the drivers at first use. Others use the names below.
"""

from __future__ import annotations

from .adapter import Keycloak as Keycloak
from .current import keycloak_logout as keycloak_logout
from .current import keycloak_roles as keycloak_roles
from .current import keycloak_token as keycloak_token
from .current import role_required as role_required
from .errors import KeycloakError as KeycloakError
from .errors import KeycloakRefused as KeycloakRefused
from .errors import KeycloakUnavailable as KeycloakUnavailable
from .errors import NoProviderTokens as NoProviderTokens
from .errors import SessionEnded as SessionEnded
