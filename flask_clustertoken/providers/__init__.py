"""Identity providers: a log-out at any OpenID provider ends logins here. Needs the extra ``oidc``.

Imports the extension and the core, and the drivers at first use. Others use the names below.
"""

from __future__ import annotations

from .backchannel import BackChannelLogout as BackChannelLogout
