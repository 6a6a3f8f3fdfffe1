"""Identity providers: log-outs and security events there end logins here. Extra: ``oidc``.

Imports the extension and the core, and the drivers at first use. Others use the names below.
"""

from __future__ import annotations

from .authorization import ClientCredentials as ClientCredentials
from .backchannel import BackChannelLogout as BackChannelLogout
from .events import ENDS as ENDS
from .events import TOLD as TOLD
from .events import SecurityEvent as SecurityEvent
from .shared_signals import SharedSignals as SharedSignals
from .shared_signals import stream_parts as stream_parts
from .signals import security_event as security_event
from .signals import stream_heard as stream_heard
from .signals import stream_silent as stream_silent
