"""Nodes: what the processes of a cluster do for Keycloak, each by itself and all together.

Imports ``protocol``, the keys of ``sessions`` and the core, and no Flask. Others use
:class:`NodeRegistration`, :class:`Hosts` (the machines that Keycloak knows) and
:class:`NotBefore` (the times that it pushed).
"""

from __future__ import annotations

from .hosts import Hosts as Hosts
from .notbefore import NotBefore as NotBefore
from .registrar import NodeRegistration as NodeRegistration
