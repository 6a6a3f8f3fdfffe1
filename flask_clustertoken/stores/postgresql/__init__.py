"""``postgresql://host:5432/database``: the store of an app that has a PostgreSQL already."""

from .store import PostgreSQLStore

__all__ = ["PostgreSQLStore"]
