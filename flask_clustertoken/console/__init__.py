"""Console: pages for people. Each user's own devices and API tokens. Needs the extra ``console``.

They work without scripts, in light and dark, from 320 px on, in English and German; an app gives
them its own frame, overrides them block by block, or adds a language. Others use :class:`Devices`.
"""

from __future__ import annotations

from .devices import Devices as Devices
