"""Protocol: what is spoken with Keycloak; its end points, keys and answers, with limits to each.

Imports the adapter's options and errors and the ground; no other package of the adapter, and
Flask only to see by which host a request came. Others use :class:`Provider`, which is one realm
at one address, :class:`Origins`, which finds it, and ``claims``, which says what is believed.
"""

from __future__ import annotations

from . import claims as claims
from .background import Background as Background
from .origins import Origins as Origins
from .provider import Provider as Provider
from .provider import Providers as Providers
from .provider import TokenSet as TokenSet
