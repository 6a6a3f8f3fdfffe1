"""What goes wrong with Keycloak, drawn::

    ClusterTokenError
    └── KeycloakError
        ├── KeycloakUnavailable    unreachable, slower than its deadline, or answering garbage
        ├── KeycloakRefused        it answered with an OAuth error, or the login is not accepted
        │   └── SessionEnded       ``invalid_grant``: the session behind the login is over
        └── NoProviderTokens       the request has no login of Keycloak, or its tokens are gone

What is not genuine, or not for us, is a :class:`~flask_clustertoken.oidc.NotGenuine`.
No message ever holds a token or a secret.
"""

from __future__ import annotations

from ..errors import ClusterTokenError
from ..oidc import Peer, ProviderUnavailable


class KeycloakError(ClusterTokenError):
    """The root of what this adapter raises on purpose."""


class KeycloakUnavailable(KeycloakError, ProviderUnavailable):
    """Keycloak did not answer in time, or not as Keycloak answers. No reason to end a login."""


class KeycloakRefused(KeycloakError):
    """Keycloak said no. *code* is the OAuth error, such as ``access_denied``."""

    def __init__(self, code: str, description: str = "") -> None:
        self.code = code
        self.description = description
        super().__init__(f"Keycloak refused: {code}" + (f" ({description})" if description else ""))


class SessionEnded(KeycloakRefused):
    """Keycloak does not know the session behind this login any more."""


class NoProviderTokens(KeycloakError):
    """There is no token of Keycloak behind this request."""


#: Keycloak, as what is common to all providers speaks of it.
KEYCLOAK = Peer("Keycloak", KeycloakUnavailable)
