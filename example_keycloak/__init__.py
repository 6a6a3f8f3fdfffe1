"""A small app whose logins are Keycloak's. Started by ``scripts/run-keycloak``."""

from __future__ import annotations

from .factory import create_app as create_app
