"""Console: pages for people. An administrator's console, a user's devices. Extra: ``console``.

They work without scripts, in light and dark, from 320 px on, in English and German; an app gives
them its own frame, overrides them block by block, or adds a language. Others use
:class:`Console` and :class:`Devices`.
"""

from __future__ import annotations

from .desk import Console as Console
from .devices import Devices as Devices
