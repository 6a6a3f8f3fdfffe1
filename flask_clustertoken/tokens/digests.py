"""Digests: what stands for an id, a label or a subject wherever others may look.

The feed and the view hold digests, never ids, labels or subjects in clear: whoever reads the
cluster store learns nothing that a token is made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def digest(domain: str, text: str) -> int:
    """64 bits that stand for *text* in feed and view.

    A collision would refuse one token too many, never one too few; a person who wants to be
    somebody else's collision must find a second preimage and gains a log-out.
    """
    raw = blake2b(text.encode(), digest_size=8, person=domain.encode()[:16]).digest()
    return int.from_bytes(raw, "big")


def digests(domain: str, texts: Iterable[str]) -> tuple[int, ...]:
    """The :func:`digest` of each of *texts*."""
    return tuple(digest(domain, text) for text in texts)
