"""Binding: a browser registers a key of its device, and proves that it has it. Needs the extra
``binding``.

Device Bound Session Credentials (W3C webappsec-dbsc), for any WSGI app. Imports the authority and
the gate of ``wsgi``, and joserfc at first use. What a bound login is, and that it counts with its
proof only, is the core's (:mod:`flask_clustertoken.authority.proving`); here a browser gets both.
Others use :class:`DeviceBinding`, which the middleware hangs in where ``DEVICE_BOUND`` asks for it.
"""

from __future__ import annotations

from .endpoints import DeviceBinding as DeviceBinding
