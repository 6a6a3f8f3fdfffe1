"""A store's URL, as people write it."""

from __future__ import annotations


def plain_url(url: str) -> str:
    """*url* with its scheme in small letters: schemes have no case (RFC 3986, 3.1)."""
    scheme, colon, rest = url.partition(":")
    return f"{scheme.lower()}{colon}{rest}"
