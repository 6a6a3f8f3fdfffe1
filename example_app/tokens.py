"""The extension, made once and bound to an app in :mod:`.factory`."""

from __future__ import annotations

from flask_clustertoken import ClusterToken

tokens = ClusterToken()
