"""The scripts: files in ``lua/``, each one step on the server, all behind ``common.lua``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path

_FOLDER = Path(__file__).with_name("lua")


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text, and the digest by which a server that has seen it knows it."""

    name: str
    text: str
    digest: str


@cache
def script(name: str) -> Script:
    """The script in ``lua/<name>.lua``."""
    parts = [(_FOLDER / f"{one}.lua").read_text(encoding="utf-8") for one in ("common", name)]
    text = "".join(parts)
    # (What Redis calls a script by is a SHA-1; nothing secret rests on it.)
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())
