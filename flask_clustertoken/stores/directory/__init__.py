"""The directory store: processes of one host, SQLite, and a counter in a mapped file.

Imports the contract and what is below it. Others use :class:`DirectoryStore`, by its URL.
"""

from __future__ import annotations

from .store import DirectoryStore as DirectoryStore
