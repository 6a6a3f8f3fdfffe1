"""Operations: what an operator does once a year. Rotate keys, move, drain, remove, diagnose.

Imports the authority and what is below it; nothing that serves a request imports this. Others
(command lines and consoles) use :class:`Rotation`, :class:`Migration`, :func:`remove_node` and
:func:`diagnose`.
"""

from __future__ import annotations

from .copying import Progress as Progress
from .diagnosis import diagnose as diagnose
from .diagnosis.findings import Finding as Finding
from .diagnosis.findings import worst as worst
from .drain import never_certain as never_certain
from .migration import Migration as Migration
from .migration import migrate as migrate
from .removal import remove_node as remove_node
from .rotation import KeyStatus as KeyStatus
from .rotation import Retired as Retired
from .rotation import Rotation as Rotation
from .rotation import Staged as Staged
from .rotation import first_key as first_key
