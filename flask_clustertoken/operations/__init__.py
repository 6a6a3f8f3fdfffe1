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
from .rotation import Rotation as Rotation
from .rotation import first_key as first_key
from .stages import KeyStatus as KeyStatus
from .stages import Retired as Retired
from .stages import RotationRefused as RotationRefused
from .stages import Staged as Staged
